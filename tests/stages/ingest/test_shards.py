"""Shards end to end: written from a folder, ingested again, and read by later steps like the folder itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.operators.read_images import ReadImages
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError, StorageError, UsageError
from datus2_ray.sources import shards
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.list_source import list_for_shards
from datus2_ray.sources.shard_columns import DATASET_KEY, PALETTE_KEY
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.stages.ingest.to_shards import SHARDS
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Sharded, Surveyed
from datus2_ray.store.run_folder import QUARANTINE

Open = Callable[..., Run]
COLUMNS = ["image_id", "image", "height", "width", "mask"]


def pack(run: Run) -> Commit[Sharded]:
    """Write the source of a run into shards, as `datus2 ingest` does."""
    return execute_stage(run.configured(run.config, list_for_shards(run.config)), SHARDS).commit(Sharded)


def ingest(run: Run) -> Commit[Ingested]:
    return execute_stage(run, INGEST).commit(Ingested)


def rows_of(ingested: Commit[Ingested]) -> list[dict[str, Any]]:
    table = ImagesTable.of(ingested)
    return [row for part in sorted(ingested.parts) for row in table.read(part, COLUMNS).to_pylist()]


def foreign(folder: Path, scenes: Path, count: int = 6, **columns: Any) -> Path:
    """Write shards as other people do: {bytes, path} structs, two row groups a file."""
    files = sorted((scenes / "images").iterdir())[:count]
    folder.mkdir()
    for start in range(0, count, 4):
        chosen = files[start : start + 4]
        images = [{"bytes": file.read_bytes(), "path": file.name} for file in chosen]
        table = pa.table({"image": images, **{name: make(chosen) for name, make in columns.items()}})
        pq.write_table(table, folder / f"train-{start:05d}.parquet", row_group_size=2)
    return folder


def test_a_run_on_shards_has_the_images_of_a_run_on_the_folder(open_here: Open, scenes: Path) -> None:
    size = sum(file.stat().st_size for file in scenes.rglob("*") if file.is_file())
    made = open_here(scenes, "ingest.row_group_rows=5", "ingest.shard_megabytes=1", name="packed", dataset="demo")
    packed = pack(made)
    assert packed.rows_out == 24
    files = sorted(Path(packed.uri).glob("*.parquet"))
    assert abs(len(files) - size / 1e6) <= 1
    assert pq.read_metadata(files[0]).row_group(0).num_rows == 5

    here = ingest(open_here(scenes, name="a", dataset="demo"))
    there = ingest(open_here(made.folder.uri, name="b"))
    assert there.facts.dataset == "demo"
    assert rows_of(there) == rows_of(here)
    # The folder of the shards alone is a source too.
    assert rows_of(ingest(open_here(packed.uri, name="c"))) == rows_of(here)
    # The images themselves stay where they are.
    part = parquet.read_table(there.path("part-000000.parquet"))
    assert part["image"].null_count == len(part)
    assert Path(made.folder.uri, part["shard"][0].as_py()) == files[0]


def test_other_peoples_shards(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    masks = {file.stem: file.read_bytes() for file in (scenes / "masks").iterdir()}
    source = foreign(tmp_path / "in", scenes, seg=lambda files: [masks[file.stem] for file in files])
    run = open_here(source, id_column=None, ingest={"id_column": "image.path", "mask_column": "seg"})
    run, _ = execute(run, (INGEST, SURVEY))
    assert run.facts(Surveyed).labelled == 6
    whole = ingest(open_here(scenes, name="whole", dataset="demo", limit=6))
    expected = [{**row, "image_id": f"{row['image_id']}.jpg"} for row in rows_of(whole)]
    found = rows_of(run.commit(Ingested))
    for row, other in zip(found, expected, strict=True):
        # Masks of others are kept as they are; those of a data set have its class ids.
        assert (decode_labels(row.pop("mask")) == decode_labels(other.pop("mask"))).all()
    assert found == expected
    unnamed = ingest(open_here(source, name="unnamed", clusters=3, limit=3))
    assert [row["image_id"] for row in rows_of(unnamed)] == [f"train-00000/{row:06d}" for row in range(3)]


def test_an_id_that_comes_twice_is_refused_with_both_places(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    source = foreign(tmp_path / "in", scenes, name=lambda files: [file.stem[-1].replace("5", "0") for file in files])
    run = open_here(source, clusters=2, ingest={"id_column": "name"})
    with pytest.raises(DatusError, match=r"two images have the id 0, in train-00000.parquet and train-00004.parquet"):
        execute(run, (INGEST, SURVEY))


def test_images_that_cannot_be_used_are_in_quarantine_and_the_others_keep_their_places(
    open_here: Open, scenes: Path, tmp_path: Path
) -> None:
    files = sorted((scenes / "images").iterdir())[:5]
    data = [file.read_bytes() for file in files]
    images = [None, data[1], b"no image", data[3], data[4]]
    (tmp_path / "in").mkdir()
    ids = ["../../etc/passwd", "b", "c", None, "e"]
    pq.write_table(pa.table({"image": images, "image_id": ids}), tmp_path / "in" / "x.parquet")
    commit = ingest(open_here(tmp_path / "in", clusters=2, max_error_rate=0.5))
    assert (commit.rows_out, commit.rows_quarantined) == (3, 2)
    assert {row["image_id"]: row["image"] for row in rows_of(commit)} == {
        "b": data[1], "x/000003": data[3], "e": data[4],
    }  # fmt: skip
    refused = parquet.read_table(commit.path(QUARANTINE)).to_pylist()
    assert {row["image_id"]: row["kind"] for row in refused} == {"%2E%2E/%2E%2E/etc/passwd": "empty", "c": "unreadable"}


def test_what_cannot_be_a_source_says_why(open_here: Open, scenes: Path) -> None:
    packed = open_here(scenes, name="packed", dataset="demo")
    source = packed.folder.uri
    with pytest.raises(UsageError, match="no finished shards; run the same `datus2 ingest` again"):
        open_here(source, name="early", clusters=2)
    shards = pack(packed)
    with pytest.raises(UsageError, match="made with --dataset demo, not camvid"):
        open_here(source, name="other", dataset="camvid")
    with pytest.raises(UsageError, match="shards, whose names tell no splits"):
        open_here(source, name="split", split="val")
    with pytest.raises(UsageError, match="holds shards already"):
        pack(open_here(source, name="again"))
    shard = Path(shards.path("part-000000.parquet"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(StorageError, match=shard.name):
        open_here(source, name="broken")


def test_shards_without_masks_need_a_number_of_clusters(open_here: Open, scenes: Path) -> None:
    packed = open_here(scenes / "images", name="packed", limit=3, clusters=2)
    pack(packed)
    with pytest.raises(UsageError, match="--clusters K"):
        execute(open_here(packed.folder.uri, name="run"), (INGEST, SURVEY))


def test_a_file_that_says_of_itself_to_be_ours_is_not_believed(open_here: Open, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    ids = ["../../../evil", "/abs/evil", None, "huge", "a%2Fb", "good"]
    table = pa.table(
        {
            "image_id": ids, "image": [b"x"] * 6, "height": [20, 20, 20, 2_000_000_000, 20, 20], "width": [20] * 6,
            "mask": pa.array([None] * 6, pa.binary()),
        }
    ).replace_schema_metadata({DATASET_KEY: b"folder"})  # fmt: skip
    pq.write_table(table, tmp_path / "in" / "x.parquet")
    commit = ingest(open_here(tmp_path / "in", clusters=2, max_error_rate=0.9))
    assert commit.rows_out == 2
    refused = parquet.read_table(commit.path(QUARANTINE)).to_pylist()
    assert [row["kind"] for row in refused] == ["unsafe_id", "unsafe_id", "unsafe_id", "too_large"]
    assert not any(row["image_id"].startswith(("/", "..")) for row in refused)


def test_shards_that_are_replaced_under_a_run_are_noticed(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    source = foreign(tmp_path / "in", scenes)
    ingested = ingest(open_here(source, clusters=2, ingest={"id_column": "image.path"}))
    (source / "train-00004.parquet").replace(source / "train-00000.parquet")
    with pytest.raises(StorageError, match=r"train-00000.parquet is not what it was when the run began"):
        rows_of(ingested)


def test_shards_of_two_data_sets_are_not_taken_for_one(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("demo", "folder"):
        packed = pack(open_here(scenes, name=name, dataset=name, limit=2))
        shard = Path(packed.path("part-000000.parquet"))
        (tmp_path / "in" / f"{name}.parquet").write_bytes(shard.read_bytes())
    with pytest.raises(UsageError, match=r"folder.parquet and demo.parquet were not made from the same data set"):
        open_here(tmp_path / "in")


def test_shards_keep_the_palette_of_their_source(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 3), dtype=np.uint8)
    titles = ["sky", "high grass", "water", "house", "tree", "animal"]
    for folder in ("images", "masks"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for file in sorted((scenes / "masks").iterdir())[:8]:
        shutil.copy(scenes / "images" / f"{file.stem}.jpg", tmp_path / "in" / "images")
        pixels = colours[np.array(Image.open(file))]
        pixels[:3] = (1, 2, 3)  # in no palette: void
        Image.fromarray(pixels).save(tmp_path / "in" / "masks" / file.name)
    lines = [f"{title}:{r},{g},{b}::" for title, (r, g, b) in zip(titles, colours.tolist(), strict=True)]
    (tmp_path / "in" / "labelmap.txt").write_text("\n".join(lines))

    packed = pack(open_here(tmp_path / "in", name="packed"))
    there = open_here(packed.uri, name="there")
    assert "not scored: #010203" in there.listing.ground_truth[0]
    assert execute(there, (INGEST, SURVEY))[0].facts(Surveyed).classes == tuple(titles)
    # Other names make other shards.
    (tmp_path / "in" / "labelmap.txt").write_text("\n".join(lines).replace("tree", "wood"))
    assert pack(open_here(tmp_path / "in", name="packed")).fingerprint != packed.fingerprint
    table = pq.read_table(Path(packed.uri) / "part-000000.parquet")
    (tmp_path / "damaged").mkdir()
    metadata = {**table.schema.metadata, PALETTE_KEY: b'[["sky", -1]]'}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "damaged" / "a.parquet")
    with pytest.raises(StorageError, match=r"a\.parquet is damaged: its palette"):
        open_here(tmp_path / "damaged", name="none")


def test_bands_of_a_cut_row_group_of_our_own_shards(
    open_here: Open, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(open_here(scenes, "ingest.row_group_rows=20", name="packed", dataset="demo"))
    here = ingest(open_here(scenes, "ingest.bands=2", name="here", dataset="demo"))
    monkeypatch.setattr(shards, "MAX_ROWS", 5)
    monkeypatch.setattr(shards, "STREAMED_ROWS", 3)
    there = ingest(open_here(packed.uri, "ingest.bands=2", name="there"))
    assert list(there.parts.values()) == [5, 5, 5, 5, 4]
    # Parts of a group that was cut have its images.
    assert parquet.read_table(there.path("part-000003.parquet"))["image"].null_count == 0
    assert rows_of(there) == rows_of(here)
    assert there.facts.bands == (2,)
    few = open_here(packed.uri, "ingest.bands=4", name="few", max_error_rate=1)
    with pytest.raises(DatusError, match="bands"):
        ingest(few)


def test_settings_that_cannot_matter_to_a_run_on_shards_redo_nothing(open_here: Open, scenes: Path) -> None:
    made = open_here(scenes, name="packed", dataset="demo", limit=4)
    packed = pack(made)
    stamps = {
        ingest(open_here(made.folder.uri, *settings, name=name)).fingerprint
        for name, *settings in (("a",), ("b", "ingest.images_per_part=3"), ("c", "ingest.image_column=image"))
    }
    assert len(stamps) == 1
    again = pack(open_here(scenes, "ingest.images_per_part=3", name="again", dataset="demo", limit=4))
    assert again.fingerprint == packed.fingerprint


def test_images_of_our_shards_that_are_damaged_later_are_refused_one_by_one(
    scenes: Path, tmp_path: Path, open_here: Open
) -> None:
    sharded = pack(open_here(scenes, dataset="demo", name="shards"))
    ingested = ingest(open_here(tmp_path / "shards", "max_error_rate=0.5"))
    file = Path(sharded.path(min(sharded.parts)))
    column = next(
        column
        for column in map(pq.ParquetFile(file).metadata.row_group(0).column, range(10))
        if column.path_in_schema == "image"
    )
    data = bytearray(file.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 40] = bytes(40)
    file.write_bytes(data)
    read = ReadImages(ImagesTable.of(ingested), 32, Unheard())
    part = min(ingested.parts)
    rows = read(pa.table({"part": [part]})).to_pylist()
    assert len(rows) == ingested.parts[part]
    assert {(row["pixels"], row["fault_kind"]) for row in rows} == {(None, "unreadable")}
    assert "cannot read row group 0 of" in rows[0]["fault_message"]
