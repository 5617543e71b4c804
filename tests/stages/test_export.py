"""Masks in formats of others: of every image, under its id whatever it is, and whole also after a crash."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.names.names import NamedClass
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError, ImageError, StorageError, UsageError
from datus2_ray.exports.format import split_of
from datus2_ray.sources.layouts.ids import assign_ids, check_id
from datus2_ray.stages.export import EXPORT
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import (
    Exported,
    Facts,
    Ingested,
    Labelled,
    Named,
    Predicted,
    TaughtMasks,
)
from datus2_ray.store.run_folder import COMMIT, QUARANTINE, part_name, written_parts

K = 5

#: Of every part; one folder of images is deeper than the other.
IMAGES = ("a", "b/c")


def picture(mask: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(mask.astype(np.uint8)).convert("RGB").save(file, format="PNG")
    return file.getvalue()


def write_table(run: Run, facts: Facts, parts: list[list[dict[str, Any]]], schema: pa.Schema, name: str) -> Run:
    uri = run.folder.result(facts.stage, name)
    for number, rows in enumerate(parts):
        parquet.write_table(storage.join(uri, part_name(number)), pa.Table.from_pylist(rows, schema=schema))
    counts = {part_name(number): len(rows) for number, rows in enumerate(parts)}
    rows_in = sum(counts.values())
    return run.with_commit(Commit(uri, name, rows_in, rows_in, 0, counts, facts))


def write_masks(run: Run, facts: Facts, seed: int, k: int = K, parts: int = 3, ids: tuple[str, ...] = IMAGES) -> Run:
    """Write a set of masks as label or predict would, with noise, and the images; return the run that has both."""
    rng, noise = np.random.default_rng(seed), 255 if k < 255 else 65535
    images, masks = [], []
    for number in range(parts):
        maps = [rng.choice([*range(k), noise], (6, 8)).astype(np.min_scalar_type(noise)) for _ in ids]
        named = [f"{number}{i}" for i in ids] if ids is IMAGES else ids
        masks.append([{"image_id": i, "mask": encode_labels(x)} for i, x in zip(named, maps, strict=True)])
        # Images without a mask, as those in quarantine, and another order.
        known = [*named, f"{number} unlabelled"][::-1]
        image = picture(np.full((6, 8), number))
        images.append(
            [{"image_id": i, "file": f"pictures/{i}.JPEG", "image": image, "height": 6, "width": 8} for i in known]
        )
    run = write_table(run, Ingested("folder"), images, schemas.IMAGES, "images")
    return write_table(run, facts, masks, schemas.MASKS, f"{facts.stage} {seed}")


def with_masks(run: Run, k: int = K) -> Run:
    for seed, facts in enumerate((Labelled(), Predicted())):
        run = write_masks(run, facts, seed, k)
    return run


def export(run: Run, **chosen: Any) -> Commit[Exported]:
    """Export the masks of a run, by default as PNG."""
    wanted = run.config.export.model_copy(update={"format": "png", **chosen})
    config = run.config.model_copy(update={"export": wanted})
    return execute_stage(run.configured(config, run.listing).after(run.commits), EXPORT).commit(Exported)


def files_of(commit: Commit[Exported]) -> dict[str, bytes]:
    folder = Path(commit.uri)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def times_of(commit: Commit[Exported]) -> dict[str, int]:
    return {file: Path(commit.path(file)).stat().st_mtime_ns for file in files_of(commit)}


def rows_of(commit: Commit[Exported]) -> list[dict[str, Any]]:
    tables = [parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]
    assert all(table.schema.equals(schemas.EXPORTED) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return open_here(tmp_path / "in", clusters=K)


@pytest.mark.parametrize(("k", "mode"), [(K, "P"), (300, "I;16")])
@pytest.mark.parametrize("masks", ["initial", "refined", None])
def test_files_show_the_masks_of_the_table(
    open_here: Callable[..., Run], tmp_path: Path, k: int, mode: str, masks: str | None
) -> None:
    run = with_masks(open_here(tmp_path / "in", clusters=k), k)
    exported = export(run, masks=masks)
    # Without a choice, the best that there are.
    assert exported.facts.masks == (masks or "refined")
    table = run.commit(Labelled) if masks == "initial" else run.commit(Predicted)
    for part in table.parts:
        for row in parquet.read_table(table.path(part)).to_pylist():
            image = Image.open(exported.path("png", "masks", f"{row['image_id']}.png"))
            assert image.mode == mode
            np.testing.assert_array_equal(np.asarray(image), decode_labels(row["mask"]))
            if mode == "P":
                colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
                assert len(colours) == len(np.unique(np.asarray(image)))
    assert Path(exported.path("png", "labels.txt")).read_text().splitlines() == [f"cluster {i}" for i in range(k)]


def test_the_tables_name_every_file(run: Run) -> None:
    exported = export(with_masks(run))
    rows = rows_of(exported)
    assert rows[1] == {"image_id": "0b/c", "split": "train", "files": ["masks/0b/c.png"], "record": []}
    named = {f"png/{file}" for row in rows for file in row["files"]}
    assert {file for file in files_of(exported) if file.endswith(".png")} == named
    assert {file for file in files_of(exported) if file.startswith("png/")} - named == {
        f"png/{file}" for file in exported.facts.files
    }


def test_nothing_is_exported_that_nobody_asked_for(run: Run) -> None:
    _, left_out = execute(write_masks(run, Labelled(), 0), (EXPORT,))
    assert left_out == {"export": "not asked for (export.format)"}


def test_every_image_is_in_one_split_and_has_the_name_of_its_file(run: Run) -> None:
    splits = {"train": 0.5, "val": 0.5}
    exported = export(with_masks(run), format="coco", splits=splits)
    assert exported.facts.files == ("annotations/train.json", "annotations/val.json")
    found = {}
    for split in splits:
        coco = json.loads(Path(exported.path("coco", "annotations", f"{split}.json")).read_text())
        found |= {image["file_name"]: split for image in coco["images"]}
    ids = [f"{number}{image}" for number in range(3) for image in IMAGES]
    assert found == {f"pictures/{image_id}.JPEG": split_of(image_id, splits) for image_id in ids}
    assert len(set(found.values())) == 2


def test_pieces_of_a_file_have_names_of_their_own(run: Run) -> None:
    run = write_masks(run, Labelled(), 0, parts=1, ids=("stack/page-0001", "stack/page-0002"))
    part = run.commit(Ingested).path(part_name(0))
    table = parquet.read_table(part)
    parquet.write_table(part, table.set_column(1, table.field("file"), pa.array(["stack.tif"] * len(table))))
    expected = ["stack/page-0001.tif", "stack/page-0002.tif"]
    for name in ("coco", "coco-panoptic"):
        file = Path(export(run, format=name).path(name, "annotations", "train.json"))
        assert [image["file_name"] for image in json.loads(file.read_text())["images"]] == expected
    tasks = json.loads(Path(export(run, format="label-studio").path("label-studio", "train.json")).read_text())
    assert [task["data"]["image"] for task in tasks] == expected


def test_images_in_shards_have_names_that_say_what_they_are(run: Run, tmp_path: Path) -> None:
    run = write_masks(run, Labelled(), 0, parts=1)
    rows = parquet.read_table(run.commit(Ingested).path(part_name(0))).to_pylist()
    parquet.write_table(str(tmp_path / "shards" / "one.parquet"), pa.Table.from_pylist(rows))
    where = {"shard": "one.parquet", "row_group": 0, "image_column": "image", "id_column": "image_id", "image": None}
    places = [{**row, **where, "row": number} for number, row in enumerate(rows)]
    run = write_table(run, Ingested("folder", str(tmp_path / "shards")), [places], schemas.SHARD_IMAGES, "of shards")
    coco = json.loads(Path(export(run, format="coco").path("coco", "annotations", "train.json")).read_text())
    assert [image["file_name"] for image in coco["images"]] == ["0a.png", "0b/c.png"]
    yolo = export(run, format="yolo")
    assert Path(yolo.path("yolo", "images", "train", "0b", "c.png")).read_bytes() == picture(np.zeros((6, 8)))


def test_small_regions_get_no_class(run: Run) -> None:
    exported = export(with_masks(run), min_area=49)
    masks = [decode_labels(data) for file, data in files_of(exported).items() if file.endswith(".png")]
    assert np.unique(masks).tolist() == [255]
    assert exported.uri != export(with_masks(run)).uri


CLASSES = (NamedClass("road", "#e69f00"), NamedClass("car", "#0000ff", ignore=True), NamedClass("tree", "#009e73"))


def test_masks_of_classes_have_their_names_and_colours_and_not_those_that_are_ignored(run: Run) -> None:
    run = write_masks(with_masks(run), Named(CLASSES), seed=5, k=len(CLASSES))
    exported = export(run)
    assert exported.facts.masks == "named"
    assert Path(exported.path("png", "labels.txt")).read_text() == "road\ntree\n"
    for part in run.commit(Named).parts:
        for row in parquet.read_table(run.commit(Named).path(part)).to_pylist():
            expected = np.array([0, 255, 1, *[255] * 253], np.uint8)[decode_labels(row["mask"])]
            image = Image.open(exported.path("png", "masks", f"{row['image_id']}.png"))
            np.testing.assert_array_equal(np.asarray(image), expected)
            assert set(np.asarray(image.convert("RGB"))[expected == 1][:, 0].tolist()) == {0x00}
    coco = json.loads(Path(export(run, format="coco").path("coco", "annotations", "train.json")).read_text())
    assert [category["name"] for category in coco["categories"]] == ["road", "tree"]
    # Another name or colour is another export.
    renamed = write_masks(run, Named((NamedClass("way", "#e69f00"), *CLASSES[1:])), seed=5, k=len(CLASSES))
    assert export(renamed).uri != exported.uri


def test_uncertain_pixels_get_no_class(run: Run) -> None:
    run = write_masks(run, Named(CLASSES), seed=5, k=len(CLASSES), parts=1)
    with pytest.raises(UsageError, match="only masks that were taught have a confidence"):
        export(run, min_confidence=0.5)
    rows = parquet.read_table(run.commit(Named).path(part_name(0))).to_pylist()
    # Of patches, of which each is 2 x 2 pixels.
    confidence = np.random.default_rng(0).integers(0, 256, (3, 4)).astype(np.uint8)
    rows = [{**row, "confidence": encode_labels(confidence)} for row in rows]
    run = write_table(run, TaughtMasks(CLASSES), [rows], schemas.TAUGHT_MASKS, "taught")
    sure = export(run, min_confidence=0.5)
    assert sure.facts.masks == "taught"
    mask, kept = (np.asarray(Image.open(exported.path("png", "masks", "0a.png"))) for exported in (export(run), sure))
    certain = np.kron(confidence, np.ones((2, 2))) >= 127.5
    np.testing.assert_array_equal(kept, np.where(certain, mask, 255))
    assert (kept != mask).any()


def test_an_image_that_a_format_cannot_hold_goes_to_quarantine(run: Run) -> None:
    run = write_masks(run, Labelled(), 0, ids=("a", "many"), parts=1)
    uri = run.commit(Labelled).path(part_name(0))
    mask = np.full((64, 64), 255, np.uint8)
    mask[::2, ::2] = 0
    sound = parquet.read_table(uri)
    parquet.write_table(uri, sound.set_column(1, "mask", pa.array([sound["mask"][0].as_py(), encode_labels(mask)])))
    with pytest.raises(DatusError, match="1 of 2 images cannot be used"):
        export(run, format="cvat", instances=True)
    config = run.config.model_copy(update={"max_error_rate": 0.5})
    exported = export(run.configured(config, run.listing).after(run.commits), format="cvat", instances=True)
    assert (exported.rows_in, exported.rows_out, exported.rows_quarantined) == (2, 1, 1)
    (lost,) = parquet.read_table(exported.path(QUARANTINE)).to_pylist()
    assert (lost["image_id"], lost["kind"]) == ("many", "many_objects")


def test_what_cannot_be_exported_is_refused_in_one_line(run: Run) -> None:
    run = write_masks(run, Labelled(), 0, parts=1)
    with pytest.raises(UsageError, match="has no refined masks; it has initial"):
        export(run, masks="refined")
    part = run.commit(Ingested).path(part_name(0))
    parquet.write_table(part, parquet.read_table(part).drop_columns(["file"]))
    with pytest.raises(StorageError, match="kept no names of files; run the same `datus2 run` again"):
        export(run)


def test_an_interrupted_export_goes_on_and_gives_the_same_files(run: Run) -> None:
    run = with_masks(run)
    exported = export(run)
    undisturbed, times = files_of(exported), times_of(exported)

    assert export(run) == exported
    assert times_of(exported) == times

    # Killed after the first file of a part.
    merged = {f"png/{file}" for file in exported.facts.files}
    again = {COMMIT, part_name(1), *merged, *(file for file in undisturbed if file.split("/")[-1].startswith("1"))}
    again |= {file for file in undisturbed if file.endswith("1b/c.png")}
    for file in again - {"png/masks/1a.png"}:
        Path(exported.path(file)).unlink()
    assert export(run) == exported
    assert files_of(exported) == undisturbed
    assert {file for file, when in times_of(exported).items() if when != times[file]} == again


def test_a_part_counts_only_when_all_its_files_are_there(open_here: Callable[..., Run], tmp_path: Path) -> None:
    run, undisturbed = (
        with_masks(open_here(tmp_path / "in", clusters=K, name=name)) for name in ("run", "undisturbed")
    )
    uri = run.commit(Predicted).path(part_name(1))
    sound = parquet.read_table(uri)
    parquet.write_table(uri, sound.set_column(1, "mask", pa.array([sound["mask"][0].as_py(), b"no picture"])))
    with pytest.raises(ImageError):
        export(run)
    assert run.folder.find(Exported) is None
    (begun,) = Path(run.folder.path("export")).iterdir()
    assert written_parts(str(begun)) == {part_name(0)}

    parquet.write_table(uri, sound)
    assert files_of(export(run)) == files_of(export(undisturbed))


def test_no_file_of_other_masks_or_another_palette_passes_for_one_of_these(run: Run) -> None:
    both = export(with_masks(run))
    fewer = export(write_masks(run, Labelled(), seed=7, parts=1))
    assert fewer.uri != both.uri
    pictures = {file for file in files_of(fewer) if file.endswith(".png")}
    assert pictures == {f"png/masks/0{i}.png" for i in IMAGES}
    # Only the number of clusters, and with it the palette, is another.
    more = run.configured(run.config.model_copy(update={"clusters": K + 1}), run.listing)
    other = export(write_masks(more, Labelled(), seed=7, parts=1))
    assert {file for file in files_of(other) if file.endswith(".png")} == pictures
    assert files_of(other)["png/masks/0a.png"] != files_of(fewer)["png/masks/0a.png"]


#: Names of files as people give them: of any script, up to the 255 bytes that file systems allow, in folders.
parts_of_names = st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1)
names = st.lists(parts_of_names | parts_of_names.map(lambda name: name * 20), min_size=1, max_size=2).map("/".join)
longest = st.sampled_from(("á" * 125, "á" * 124 + "à", "ｎ" * 83, "x" * 251))


def is_sound(image_id: str) -> bool:
    try:
        check_id(image_id)
    except ImageError:
        return False
    return True


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(names | longest, min_size=1))
def test_an_id_of_any_script_and_length_that_ingest_takes_names_a_file_of_its_own(run: Run, names: set[str]) -> None:
    ids = tuple(image_id for image_id in sorted(set(assign_ids(sorted(names)))) if is_sound(image_id))
    assume(ids)
    exported = export(write_masks(run, Labelled(), seed=zlib.crc32(repr(ids).encode()), parts=1, ids=ids))
    assert [row["files"] for row in rows_of(exported)] == [[f"masks/{image_id}.png"] for image_id in ids]
    inside = Path(exported.path("png", "masks")).resolve()
    files = {Path(exported.path("png", "masks", f"{image_id}.png")).resolve() for image_id in ids}
    assert {file for file in inside.rglob("*") if file.is_file()} == files
