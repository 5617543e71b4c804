"""Shards of others end to end: splits, a teaser picture, paths, cut row groups, masks in some splits only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datus2_ray.core.images.decode import decode
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.sources import shards
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.look import NO_IMAGES
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Surveyed
from datus2_ray.store.run_folder import QUARANTINE

Open = Callable[..., Run]


@pytest.fixture
def pictures(scenes: Path) -> list[Path]:
    return sorted((scenes / "images").iterdir())


def ingest(run: Run) -> Commit[Ingested]:
    return execute_stage(run, INGEST).commit(Ingested)


def images_of(ingested: Commit[Ingested]) -> dict[str, bytes]:
    table = ImagesTable.of(ingested)
    read = [table.read(part, ["image_id", "image"]).to_pylist() for part in sorted(ingested.parts)]
    return {row["image_id"]: row["image"] for rows in read for row in rows}


def write(file: Path, pictures: list[Path], **more: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": picture.read_bytes(), "path": picture.name} for picture in pictures]
    pq.write_table(pa.table({"image": images, **more}), file)


@pytest.fixture
def repository(tmp_path: Path, pictures: list[Path]) -> Path:
    """Write a repository of the hub: two splits, a README and its picture."""
    folder = tmp_path / "in"
    write(folder / "data" / "train-00000-of-00001.parquet", pictures[:6])
    write(folder / "data" / "test-00000-of-00001.parquet", pictures[6:9])
    (folder / "assets").mkdir()
    (folder / "assets" / "teaser.jpg").write_bytes(pictures[0].read_bytes())
    (folder / "README.md").write_text("# a data set")
    return folder


@pytest.mark.parametrize(("split", "first", "last"), [("train", 0, 6), ("test", 6, 9)])
def test_a_split_has_its_images(
    split: str, first: int, last: int, repository: Path, pictures: list[Path], open_here: Open
) -> None:
    found = images_of(ingest(open_here(repository, clusters=2, split=split)))
    expected = [picture.read_bytes() for picture in pictures[first:last]]
    assert found == {f"data/{split}-00000-of-00001/{row:06d}": data for row, data in enumerate(expected)}


def test_without_a_split_all_are_taken_and_the_picture_beside_them_is_said(
    repository: Path, pictures: list[Path], open_here: Open
) -> None:
    run = open_here(repository, clusters=2)
    assert run.listing.notes == ("1 file, pictures beside shards: .jpg 1, for example assets/teaser.jpg",)
    assert Counter(images_of(ingest(run)).values()) == Counter(picture.read_bytes() for picture in pictures[:9])
    with pytest.raises(UsageError, match="has the splits test, train, not val"):
        open_here(repository, name="val", clusters=2, split="val")


def test_masks_may_be_in_some_splits_only(
    repository: Path, scenes: Path, pictures: list[Path], open_here: Open
) -> None:
    masks = [{"bytes": (scenes / "masks" / f"{file.stem}.png").read_bytes()} for file in pictures[9:11]]
    write(repository / "data" / "validation-00000-of-00001.parquet", pictures[9:11], mask=masks)
    pq.write_table(pa.table({"caption": ["a", "b"]}), repository / "data" / "captions.parquet")
    run, _ = execute(open_here(repository), (INGEST, SURVEY))
    assert run.listing.passed_over["data/captions.parquet"] == NO_IMAGES
    assert run.facts(Surveyed).labelled == 2
    assert run.commit(Ingested).rows_out == 11


def test_rows_with_a_path_alone_are_read_and_kept_and_what_leads_out_is_refused(
    tmp_path: Path, scenes: Path, pictures: list[Path], open_here: Open
) -> None:
    folder = tmp_path / "in"
    (folder / "files").mkdir(parents=True)
    outside = tmp_path / "outside.jpg"
    for file, picture in ((folder / "files" / "a.jpg", pictures[0]), (outside, pictures[1])):
        file.write_bytes(picture.read_bytes())
    mask = (scenes / "masks" / f"{pictures[0].stem}.png").read_bytes()
    (folder / "files" / "a.png").write_bytes(mask)
    rows = [
        {"bytes": None, "path": "files/a.jpg"},
        {"bytes": None, "path": str(outside)},
        {"bytes": pictures[2].read_bytes(), "path": "/nowhere.jpg"},
        {"bytes": None, "path": "files/missing.jpg"},
        {"bytes": None, "path": None},
    ]
    masks = [{"bytes": None, "path": "files/a.png"}, *[None] * 4]
    pq.write_table(pa.table({"image": rows, "mask": masks}), folder / "x.parquet")
    strict = {"clusters": 2, "max_error_rate": 0.9, "ingest": {"image_column": "image"}}
    commit = ingest(open_here(folder, **strict))
    assert images_of(commit) == {"x/000000": pictures[0].read_bytes(), "x/000002": pictures[2].read_bytes()}
    table = parquet.read_table(commit.path("part-000000.parquet")).to_pylist()
    assert [row["mask"] is not None for row in table] == [True, False]
    refused = parquet.read_table(commit.path(QUARANTINE)).to_pylist()
    kinds = {row["image_id"]: row["kind"] for row in refused}
    assert kinds == {"x/000001": "path_outside", "x/000003": "unreadable", "x/000004": "empty"}
    # The file's bytes are the run's own: they may go.
    (folder / "files" / "a.jpg").unlink()
    assert images_of(commit)["x/000000"] == pictures[0].read_bytes()
    allowed = ingest(open_here(folder, "ingest.outside_paths=true", name="allowed", **strict))
    assert images_of(allowed)["x/000001"] == pictures[1].read_bytes()


@pytest.fixture
def one_group(tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write 20 images in one row group, which is cut into parts of five; one of them is broken."""
    monkeypatch.setattr(shards, "MAX_ROWS", 5)
    monkeypatch.setattr(shards, "STREAMED_ROWS", 3)
    (tmp_path / "in").mkdir()
    data = [picture.read_bytes() for picture in pictures[:20]]
    data[7] = b"broken"
    pq.write_table(
        pa.table({"image": data, "image_id": [f"id-{n:02d}" for n in range(20)]}), tmp_path / "in" / "x.parquet"
    )
    return tmp_path / "in"


def test_a_row_group_that_is_cut_is_read_once_for_the_whole_run(
    one_group: Path, pictures: list[Path], open_here: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    stream = parquet.stream_row_group
    monkeypatch.setattr(parquet, "stream_row_group", lambda *given: passes.append(given[0]) or stream(*given))
    monkeypatch.setattr(parquet, "read_row_group", lambda *given: pytest.fail("the group was read as a whole"))
    commit = ingest(open_here(one_group, clusters=2))
    assert list(commit.parts.values()) == [5, 4, 5, 5]
    assert commit.rows_quarantined == 1
    found = images_of(commit)
    assert len(passes) == 1
    assert found == {f"id-{n:02d}": file.read_bytes() for n, file in enumerate(pictures[:20]) if n != 7}
    # Nobody needs the shard any more.
    (one_group / "x.parquet").unlink()
    assert images_of(commit) == found


def test_an_interrupted_pass_goes_on_with_the_parts_that_are_missing(
    one_group: Path, open_here: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ingest(open_here(one_group, name="whole", clusters=2))
    run = open_here(one_group, clusters=2)
    written: list[str] = []
    write_table = parquet.write_table

    def write_two(uri: str, *given: Any) -> None:
        if "part-000002" in uri:
            raise StorageError("the disk is full")
        written.append(uri)
        write_table(uri, *given)

    with monkeypatch.context() as broken:
        broken.setattr(parquet, "write_table", write_two)
        with pytest.raises(StorageError, match="full"):
            ingest(run)
    before = {uri: Path(uri).stat().st_mtime_ns for uri in written}
    commit = ingest(open_here(one_group, clusters=2))
    assert images_of(commit) == images_of(whole)
    assert {uri: Path(uri).stat().st_mtime_ns for uri in written} == before


def test_on_ray_the_parts_of_a_row_group_come_from_one_task(
    one_group: Path, pictures: list[Path], open_run: Open
) -> None:
    commit = ingest(open_run(one_group, clusters=2))
    assert list(commit.parts.values()) == [5, 4, 5, 5]
    assert images_of(commit) == {f"id-{n:02d}": file.read_bytes() for n, file in enumerate(pictures[:20]) if n != 7}


def test_a_shard_that_is_damaged_at_its_end_is_listed_and_the_others_are_used(
    tmp_path: Path, pictures: list[Path], open_here: Open
) -> None:
    for name in "abcd":
        write(tmp_path / "in" / f"{name}.parquet", pictures[:4])
    whole = (tmp_path / "in" / "b.parquet").read_bytes()
    (tmp_path / "in" / "b.parquet").write_bytes(whole[:-9])
    (tmp_path / "in" / "c.parquet").write_bytes(b"")
    (tmp_path / "in" / "d.parquet").write_bytes(whole[:-200] + bytes(100) + whole[-100:])
    run = open_here(tmp_path / "in", clusters=2)
    assert set(run.listing.passed_over) == {"b.parquet", "c.parquet", "d.parquet"}
    assert all(reason.startswith("damaged: cannot read the table") for reason in run.listing.passed_over.values())
    assert sorted(images_of(ingest(run))) == [f"a/{row:06d}" for row in range(4)]
    (tmp_path / "in" / "a.parquet").write_bytes(whole[:-1])
    with pytest.raises(StorageError, match=r"a\.parquet: .*; nor can 3 more Parquet files of .* again") as caught:
        open_here(tmp_path / "in", clusters=2, name="none")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("most_rows", [256, 2])
def test_a_row_group_that_cannot_be_read_is_in_quarantine(
    tmp_path: Path, pictures: list[Path], open_here: Open, monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    monkeypatch.setattr(shards, "MAX_ROWS", most_rows)
    monkeypatch.setattr(shards, "STREAMED_ROWS", 2)
    file = tmp_path / "in" / "a.parquet"
    file.parent.mkdir()
    table = pa.table({"image": [picture.read_bytes() for picture in pictures[:12]]})
    pq.write_table(table, file, row_group_size=4, compression="zstd")
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    data = bytearray(file.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 40] = bytes(40)
    file.write_bytes(data)
    ingested = ingest(open_here(tmp_path / "in", "max_error_rate=0.5", clusters=2))
    assert sorted(images_of(ingested)) == [f"a/{row:06d}" for row in (0, 1, 2, 3, 8, 9, 10, 11)]
    refused = parquet.read_table(ingested.path(QUARANTINE)).to_pylist()
    assert [row["image_id"] for row in refused] == [f"a/{row:06d}" for row in (4, 5, 6, 7)]
    assert all("cannot read row group 1 of" in row["message"] for row in refused)


PIXELS = {
    "[height][width][channel] of bytes": lambda pixels: (pixels.tolist(), pa.uint8()),
    "[height][width][channel] of 64 bits": lambda pixels: (pixels.tolist(), pa.int64()),
    "[channel][height][width]": lambda pixels: (pixels.transpose(2, 0, 1).tolist(), pa.uint8()),
}


@pytest.mark.parametrize("form", PIXELS)
def test_lists_of_pixels_are_images_and_ground_truth(
    tmp_path: Path, pictures: list[Path], scenes: Path, open_here: Open, form: str
) -> None:
    small = [np.array(Image.open(picture).convert("RGB").resize((40, 30))) for picture in pictures[:4]]
    files = [scenes / "masks" / f"{picture.stem}.png" for picture in pictures[:4]]
    maps = [np.array(Image.open(file).resize((40, 30), Image.Resampling.NEAREST)) for file in files]
    lists, kind = zip(*(PIXELS[form](pixels) for pixels in small), strict=True)
    columns = {
        "image": pa.array([*lists, [[[1, 2, 3], [1]]], None], pa.list_(pa.list_(pa.list_(kind[0])))),
        "mask": pa.array([*(ids.tolist() for ids in maps), None, None], pa.list_(pa.list_(pa.int64()))),
        "segmentation": pa.array([[[1, 2, 3, 4]]] * 6, pa.list_(pa.list_(pa.int64()))),
        "bbox": pa.array([[[1, 2, 3, 4]]] * 6, pa.list_(pa.list_(pa.int64()))),
    }
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "in" / "a.parquet")
    run = open_here(tmp_path / "in", "max_error_rate=0.5", clusters=2)
    assert "ground truth in mask; in 4 of them" in run.listing.ground_truth[0]
    ingested = ingest(run)
    found = images_of(ingested)
    assert sorted(found) == [f"a/{row:06d}" for row in range(4)]
    for row, pixels in enumerate(small):
        np.testing.assert_array_equal(decode(found[f"a/{row:06d}"]), pixels)
    refused = parquet.read_table(ingested.path(QUARANTINE)).to_pylist()
    assert [row["image_id"] for row in refused] == ["a/000004", "a/000005"]
    assert "several lengths" in refused[0]["message"]


def test_lists_of_bytes_are_files_and_lists_of_fractions_are_refused_with_the_remedy(
    tmp_path: Path, pictures: list[Path], open_here: Open
) -> None:
    (tmp_path / "in").mkdir()
    lists = pa.array([list(picture.read_bytes()) for picture in pictures[:3]], pa.list_(pa.uint8()))
    pq.write_table(pa.table({"picture": lists, "image_id": list("abc")}), tmp_path / "in" / "a.parquet")
    found = images_of(ingest(open_here(tmp_path / "in", clusters=2)))
    assert found == {name: picture.read_bytes() for name, picture in zip("abc", pictures, strict=False)}
    values = pa.array([[[[0.5, 0.5, 0.1]]]], pa.list_(pa.list_(pa.list_(pa.float32()))))
    pq.write_table(pa.table({"pixel_values": values}), tmp_path / "in" / "a.parquet")
    with pytest.raises(UsageError, match=r"pixel_values has pixels of type float, .* write images as PNG or JPEG"):
        open_here(tmp_path / "in", clusters=2, name="none")
