"""Shards of our own and of other people's making: found, understood, cut, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.config.ingest import IngestConfig
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.sources.shards import ShardColumns, Slice, cut_shards, find_columns, find_shards, name_rows, read_slice
from datus2_ray.store import storage

BYTES = [b"a", b"b", b"c"]


def write(folder: Path, name: str, columns: dict[str, Any], rows: int | None = None) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name, row_group_size=rows)
    return name


def columns_of(folder: Path, columns: dict[str, Any], **named: str) -> ShardColumns:
    return find_columns(str(folder), write(folder, "a.parquet", columns), IngestConfig(**named))


def test_a_folder_of_tables_alone_is_shards_and_one_with_pictures_is_not(tmp_path: Path) -> None:
    write(tmp_path, "b/train-1.parquet", {"image": BYTES})
    write(tmp_path, "a.parquet", {"image": BYTES})
    write(tmp_path, "_notes/x.parquet", {"image": BYTES})

    def found(config: IngestConfig | None = None) -> list[str]:
        files = storage.list_files(str(tmp_path))
        return [entry.path for entry in find_shards(str(tmp_path), files, config or IngestConfig())]

    assert found() == ["a.parquet", "b/train-1.parquet"]
    (tmp_path / "b" / "picture.JPG").write_bytes(b"")
    assert found() == []
    # Where a column is named, shards are meant.
    assert found(IngestConfig(image_column="image")) == ["a.parquet", "b/train-1.parquet"]
    storage.write_json(str(tmp_path / "_BEGUN.json"), {})
    with pytest.raises(UsageError, match="not finished"):
        found(IngestConfig(id_column="x"))


def test_a_damaged_footer_is_said_in_words(tmp_path: Path) -> None:
    file = tmp_path / write(tmp_path, "a.parquet", {"image": BYTES, "caption": BYTES})
    file.write_bytes(file.read_bytes().replace(b"caption", b"capt\xff\xfen"))
    with pytest.raises(StorageError, match=r"cannot read the table .*a\.parquet"):
        find_columns(str(tmp_path), "a.parquet", IngestConfig())
    columns = columns_of(tmp_path, {"image": BYTES})
    with pytest.raises(StorageError, match="row group 0 has fewer rows than its footer says"):
        read_slice(str(tmp_path), Slice("a.parquet", 0, 0, 0, 4), [columns.image])


def test_a_column_of_a_folder_of_pictures_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="has no Parquet files, so there is no column img"):
        find_shards(str(tmp_path), storage.list_files(str(tmp_path)), IngestConfig(image_column="img"))


@pytest.mark.parametrize(
    ("columns", "named", "expected"),
    [
        ({"image": BYTES, "other": BYTES}, {}, ("image", None, None)),
        ({"png": BYTES, "label": [1, 2, 3]}, {}, ("png", None, None)),
        ({"image": BYTES, "mask": BYTES, "image_id": ["x", "y", "z"]}, {}, ("image", "image_id", "mask")),
        (
            {"img": [{"bytes": b, "path": "p"} for b in BYTES], "seg": [{"bytes": b, "path": None} for b in BYTES]},
            {"image_column": "img", "id_column": "img.path", "mask_column": "seg"},
            ("img.bytes", "img.path", "seg.bytes"),
        ),
        ({"a": BYTES, "b": BYTES, "key": [1, 2, 3]}, {"image_column": "b", "id_column": "key"}, ("b", "key", None)),
    ],
)
def test_columns_are_found_or_named(
    tmp_path: Path, columns: dict[str, Any], named: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    found = columns_of(tmp_path, columns, **named)
    assert (found.image, found.image_id, found.mask, found.dataset) == (*expected, None)


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"a": BYTES, "b": BYTES}, {}, "--image-column NAME, one of a, b"),
        ({"text": ["x"]}, {}, "which column has the images"),
        ({"image": BYTES}, {"image_column": "picture"}, "--image-column picture is none of image"),
        ({"image": BYTES, "n": [1, 2, 3]}, {"image_column": "n"}, "--image-column n is none of image"),
        ({"image": BYTES}, {"id_column": "image"}, "--id-column image is none of"),
        ({"image": BYTES}, {"mask_column": "seg"}, "--mask-column seg is none of image"),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, columns: dict[str, Any], named: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        columns_of(tmp_path, columns, **named)


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(1, 700), max_size=4), min_size=1, max_size=4),
    st.one_of(st.none(), st.integers(1, 2000)),
)
def test_slices_cover_every_row_once_up_to_the_limit(
    tmp_path_factory: pytest.TempPathFactory, groups: list[list[int]], limit: int | None
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    names, expected = [], []
    schema = pa.schema([("image", pa.binary()), ("row", pa.int64())])
    for number, sizes in enumerate(groups):
        name = f"{number}.parquet"
        with pq.ParquetWriter(folder / name, schema) as writer:
            for size in sizes:
                rows = range(len(expected), len(expected) + size)
                writer.write_table(pa.table({"image": [b""] * size, "row": list(rows)}, schema=schema))
                expected += rows
        names.append(name)
    slices = cut_shards(str(folder), names, ShardColumns("image", None, None, None), limit)
    assert all(0 < rows.stop - rows.start <= 256 for rows in slices)
    read = [row for rows in slices for row in read_slice(str(folder), rows, ["row"])["row"]]
    assert read == expected[:limit]
    ids = [image_id for rows in slices for image_id in name_rows(rows)]
    assert len(set(ids)) == len(ids) == len(read)


def test_a_broken_shard_and_one_of_another_kind_are_named(tmp_path: Path) -> None:
    names = [write(tmp_path, "a.parquet", {"image": BYTES}), write(tmp_path, "b.parquet", {"picture": BYTES})]
    columns = ShardColumns("image", None, None, None)
    with pytest.raises(UsageError, match=r"b\.parquet has no column image, unlike a\.parquet"):
        cut_shards(str(tmp_path), names, columns, None)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"b\.parquet"):
        cut_shards(str(tmp_path), names, columns, None)
