"""A folder is ingested: every image is used or refused with a reason, and masks count only where they are wanted."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datus2_ray.config import load
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError, StorageError, UsageError
from datus2_ray.sources.layouts.annotated import AnnotatedFolder
from datus2_ray.sources.layouts.known import DATASETS
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.shard_columns import ShardColumns
from datus2_ray.stages.ingest.drawing import ANNOTATED, VERSION
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.stages.ingest.to_shards import SHARDS
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Surveyed
from datus2_ray.store.run_folder import QUARANTINE

Open = Callable[..., Run]


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def bad_and_good(folder: Path) -> tuple[set[str], set[str]]:
    """Write every kind of file that people have; give the ids that can be used and those that cannot."""
    good = {"plain", "other/size", "grey", "cmyk", "rgba", "deep", "turned", "animated"}
    (folder / "other").mkdir(parents=True)
    picture(40, 60).save(folder / "plain.jpg")
    picture(33, 90).save(folder / "other" / "size.png")
    picture(40, 60, "L").save(folder / "grey.png")
    picture(40, 60, "CMYK").save(folder / "cmyk.jpg")
    picture(40, 60, "RGBA").save(folder / "rgba.png")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(folder / "deep.png")
    exif = Image.Exif()
    exif[274] = 6
    picture(40, 60).save(folder / "turned.jpg", exif=exif)
    picture(40, 60).save(folder / "animated.gif", save_all=True, append_images=[picture(41, 60).resize((60, 40))])
    whole = io.BytesIO()
    picture(40, 60).save(whole, "JPEG")
    (folder / "truncated.jpg").write_bytes(whole.getvalue()[:-400])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no picture")
    picture(1, 1).save(folder / "dot.png")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    (folder / "notes.txt").write_text("not an image and not meant to be one")
    return good, {"truncated", "empty", "text", "dot", "huge"}


def ingest(run: Run) -> Commit[Ingested]:
    return execute_stage(run, INGEST).commit(Ingested)


def survey(run: Run) -> Surveyed:
    return execute(run, (INGEST, SURVEY))[0].facts(Surveyed)


def rows_of(commit: Commit[Ingested]) -> dict[str, dict[str, Any]]:
    rows = [row for part in sorted(commit.parts) for row in parquet.read_table(commit.path(part)).to_pylist()]
    return {row["image_id"]: row for row in rows}


def test_every_image_is_used_or_in_quarantine_with_a_reason(tmp_path: Path, open_here: Open) -> None:
    good, bad = bad_and_good(tmp_path / "in")
    commit = ingest(open_here(tmp_path / "in", "ingest.images_per_part=3", clusters=2, max_error_rate=0.5))
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (13, 8, 5)
    rows = rows_of(commit)
    assert set(rows) == good
    assert (rows["turned"]["height"], rows["turned"]["width"]) == (60, 40)
    assert rows["plain"]["image"] == (tmp_path / "in" / "plain.jpg").read_bytes()
    refused = parquet.read_table(commit.path(QUARANTINE)).to_pylist()
    assert {row["image_id"]: row["kind"] for row in refused} == {
        "truncated": "unreadable", "empty": "empty", "text": "unreadable", "dot": "too_small", "huge": "too_large",
    }  # fmt: skip
    assert all(row["message"] and "\n" not in row["message"] for row in refused)
    assert set(rows) | {row["image_id"] for row in refused} == good | bad


def test_more_faults_than_allowed_end_the_run(tmp_path: Path, open_here: Open) -> None:
    (tmp_path / "in").mkdir()
    picture(40, 60).save(tmp_path / "in" / "a.jpg")
    for name in "bc":
        (tmp_path / "in" / f"{name}.jpg").write_text("this is no picture")
    with pytest.raises(DatusError, match=r"2 of 3 images cannot be used, more than --max-error-rate"):
        ingest(open_here(tmp_path / "in", clusters=2))


def test_a_source_without_anything_to_use_says_so(tmp_path: Path, open_here: Open) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        list_source(load({"source": str(tmp_path / "nowhere"), "out": str(tmp_path / "run")}))
    (tmp_path / "none").mkdir()
    with pytest.raises(DatusError, match=r"none: expected images .* found no files"):
        open_here(tmp_path / "none", clusters=2)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("text")
    with pytest.raises(DatusError, match=r"no image of .* can be used: .*, for example a: "):
        ingest(open_here(tmp_path / "bad", clusters=2, max_error_rate=1.0))


def test_a_plain_folder_needs_a_number_of_clusters(tmp_path: Path, open_here: Open) -> None:
    (tmp_path / "in").mkdir()
    picture(40, 60).save(tmp_path / "in" / "a.jpg")
    with pytest.raises(UsageError, match="--clusters K"):
        open_here(tmp_path / "in")


def test_masks_of_another_size_cost_the_score_and_missing_ones_are_fine(tmp_path: Path, open_here: Open) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name in ("fits", "differs", "without"):
        picture(40, 60).save(tmp_path / "in" / "images" / f"{name}.png")
    labels = np.arange(2400, dtype=np.uint8).reshape(40, 60) % 5
    Image.fromarray(labels).save(tmp_path / "in" / "masks" / "fits.png")
    Image.fromarray(labels[:30]).save(tmp_path / "in" / "masks" / "differs.png")
    run = open_here(tmp_path / "in")
    rows = rows_of(ingest(run))
    assert {image_id: row["mask"] is None for image_id, row in rows.items()} == {
        "fits": False, "differs": True, "without": True,
    }  # fmt: skip
    np.testing.assert_array_equal(decode_labels(rows["fits"]["mask"]), labels)
    faults = {image_id: row["mask_fault"] for image_id, row in rows.items() if row["mask_fault"]}
    assert faults == {"differs": "mask_size: mask of 60x30 pixels for an image of 60x40"}
    surveyed = survey(run)
    assert (surveyed.labelled, surveyed.unusable) == (1, {"mask_size": 1})


def test_masks_are_not_looked_at_where_none_are_wanted(tmp_path: Path, open_here: Open) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        picture(40, 60).save(tmp_path / "in" / kind / "a.png")  # a colour mask, which a plain folder cannot have
    run, left_out = execute(open_here(tmp_path / "in", clusters=2, labelled=False), (INGEST, SURVEY))
    assert rows_of(run.commit(Ingested))["a"]["mask"] is None
    assert not run.labelled
    assert left_out == {"survey": "no ground truth, and ids made from paths"}


def test_limit_takes_the_first_ids_and_another_limit_is_other_work(scenes: Path, open_here: Open) -> None:
    ids = sorted(path.stem for path in (scenes / "images").iterdir())
    five = ingest(open_here(scenes, dataset="demo", limit=5))
    assert list(rows_of(five)) == ids[:5]
    six = ingest(open_here(scenes, dataset="demo", limit=6))
    assert (six.fingerprint != five.fingerprint, list(rows_of(six))) == (True, ids[:6])


def test_classes_of_unnamed_masks_are_counted(scenes: Path, open_here: Open) -> None:
    assert survey(open_here(scenes, limit=10)).classes == tuple(f"class {number}" for number in range(6))
    named = survey(open_here(scenes, dataset="demo", limit=10, name="named"))
    assert (named.classes[0], named.labelled) == ("sky", 10)


def test_how_annotations_are_drawn_decides_what_is_read_of_them_alone(scenes: Path, open_here: Open) -> None:
    assert {name for name, layout in DATASETS.items() if isinstance(layout, AnnotatedFolder)} == set(ANNOTATED)
    run = open_here(scenes, dataset="demo")

    def drawing(**changes: Any) -> list[int | None]:
        changed = replace(run, listing=replace(run.listing, **changes))
        return [stage.decides(changed, "cpu").get("drawing") for stage in (INGEST, SHARDS)]

    assert drawing(dataset="coco") == drawing(dataset="labelme") == [VERSION, VERSION]
    assert drawing() == drawing(dataset="coco", labelled=False) == [None, None]
    assert drawing(dataset="coco", columns=ShardColumns("image", "image_id", "mask", None, None)) == [None, None]
