"""Shards of our own and of other people's making: found, understood, cut, read."""

from __future__ import annotations

import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.config.ingest import IngestConfig
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.sources import shards
from datus2_ray.sources.files import Files
from datus2_ray.sources.shard_columns import ShardColumns, find_columns
from datus2_ray.sources.shards import cut_shards, find_shards, name_rows, read_slice, read_slices
from datus2_ray.store import folders, parquet, storage

BYTES = [b"a", b"b", b"c"]


def write(folder: Path, name: str, columns: dict[str, Any], rows: int | None = None) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / name, row_group_size=rows)
    return name


def columns_of(folder: Path, columns: dict[str, Any], **named: str) -> ShardColumns:
    name = write(folder, "a.parquet", columns)
    return find_columns(str(folder), name, parquet.read_schema(str(folder / name)), IngestConfig(**named))


def test_a_folder_of_tables_is_shards_unless_it_has_as_many_pictures(tmp_path: Path) -> None:
    write(tmp_path, "b/train-1.parquet", {"image": BYTES})
    write(tmp_path, "a.parquet", {"image": BYTES})
    write(tmp_path, "_notes/x.parquet", {"image": BYTES})

    def found(config: IngestConfig | None = None) -> list[str]:
        files = folders.list_files(str(tmp_path))
        return [entry.path for entry in find_shards(str(tmp_path), Files.of(files), config or IngestConfig())]

    assert found() == ["a.parquet", "b/train-1.parquet"]
    for number in range(5):  # such as the pictures of a README
        (tmp_path / "b" / f"teaser-{number}.JPG").write_bytes(b"")
        assert found() == ["a.parquet", "b/train-1.parquet"]
    (tmp_path / "picture.png").write_bytes(b"")
    assert found() == []
    # Where a column is named, shards are meant.
    assert found(IngestConfig(image_column="image")) == ["a.parquet", "b/train-1.parquet"]
    storage.write_json(str(tmp_path / "_BEGUN.json"), {})
    with pytest.raises(UsageError, match="not finished"):
        found(IngestConfig(id_column="x"))


@pytest.mark.parametrize("columns", [{"file_name": ["a", "b", "c"]}, {"embedding": [b"1"]}])
def test_a_table_about_pictures_is_no_shard(columns: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    write(tmp_path, "metadata.parquet", columns)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    assert find_shards(str(tmp_path), Files.of(folders.list_files(str(tmp_path))), IngestConfig()) == []


def test_a_damaged_footer_is_said_in_words(tmp_path: Path) -> None:
    file = tmp_path / write(tmp_path, "a.parquet", {"image": BYTES, "caption": BYTES})
    file.write_bytes(file.read_bytes().replace(b"caption", b"capt\xff\xfen"))
    with pytest.raises(StorageError, match=r"cannot read the table .*a\.parquet"):
        cut_shards(str(tmp_path), ["a.parquet"], IngestConfig(), None)


def test_a_column_of_a_folder_of_pictures_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="has no Parquet files, so there is no column img"):
        find_shards(str(tmp_path), Files.of(folders.list_files(str(tmp_path))), IngestConfig(image_column="img"))


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
        ({"image": BYTES}, {"mask_column": "seg"}, ("image", None, None)),
    ],
)
def test_columns_are_found_or_named(
    tmp_path: Path, columns: dict[str, Any], named: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    found = columns_of(tmp_path, columns, **named)
    assert (found.image, found.image_id, found.mask, found.dataset) == (*expected, None)


#: Every type that Arrow has for bytes and for text, which Parquet files keep.
BYTE_TYPES = {
    "binary": pa.binary(),
    "large": pa.large_binary(),
    "view": pa.binary_view(),
    "fixed size": pa.binary(1),
    "dictionary": pa.dictionary(pa.int32(), pa.binary()),
    "dictionary of large": pa.dictionary(pa.int8(), pa.large_binary()),
}
TEXT_TYPES = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int16(), pa.string()))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", BYTE_TYPES)
def test_all_types_of_bytes_and_text_are_read(kind: str, nested: bool, tmp_path: Path) -> None:
    byte_type = BYTE_TYPES[kind]
    if pa.types.is_dictionary(byte_type):  # older versions of Arrow build none of large values from a list
        places = pa.array(range(len(BYTES)), byte_type.index_type)
        values = pa.DictionaryArray.from_arrays(places, pa.array(BYTES, byte_type.value_type))
    else:
        values = pa.array(BYTES, byte_type)
    for number, text in enumerate(TEXT_TYPES):
        names = pa.array(["x", "y", "z"], text)
        if nested:
            struct = pa.StructArray.from_arrays([values, names], ["bytes", "path"])
            table = {"image": struct, "image_id": names}
        else:
            table = {"image": values, "image_id": names}
        name = write(tmp_path, f"{number}.parquet", table)
        (cut,) = cut_shards(str(tmp_path), [name], IngestConfig(), None)
        image = "image.bytes" if nested else "image"
        assert cut.columns == ShardColumns(image, "image_id", None, None, "image.path" if nested else None)
        read = read_slice(str(tmp_path), cut, [image, "image_id"])
        assert read == {image: BYTES, "image_id": ["x", "y", "z"]}


def test_a_struct_whose_bytes_are_never_there_still_has_its_paths(tmp_path: Path) -> None:
    found = columns_of(tmp_path, {"image": [{"bytes": None, "path": "a.jpg"}]})
    assert found == ShardColumns("image.bytes", None, None, None, "image.path")


def test_a_missing_struct_has_neither_bytes_nor_path(tmp_path: Path) -> None:
    name = write(tmp_path, "a.parquet", {"image": [None, {"bytes": b"b", "path": "b.jpg"}]})
    (cut,) = cut_shards(str(tmp_path), [name], IngestConfig(), None)
    read = read_slice(str(tmp_path), cut, ["image.bytes", "image.path"])
    assert read == {"image.bytes": [None, b"b"], "image.path": [None, "b.jpg"]}


@pytest.mark.parametrize(
    ("columns", "named", "message"),
    [
        ({"a": BYTES, "b": BYTES}, {}, "--image-column NAME, one of a, b"),
        (
            {"text": ["x"]},
            {},
            r"no column of a\.parquet has the bytes of images, only text \(string\); write these as a column",
        ),
        ({"image": BYTES}, {"image_column": "picture"}, "--image-column picture is none of image"),
        ({"image": BYTES, "n": [1, 2, 3]}, {"image_column": "n"}, "--image-column n is none of image"),
        ({"image": BYTES}, {"id_column": "image"}, "--id-column image is none of"),
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
    slices = cut_shards(str(folder), names, IngestConfig(), limit)
    assert all(0 < rows.stop - rows.start <= 256 for rows in slices)
    assert all(rows.cut == (groups[names.index(rows.shard)][rows.row_group] > 256) for rows in slices)
    read = [row for rows in slices for row in read_slice(str(folder), rows, ["row"])["row"]]
    assert read == expected[:limit]
    together = groupby(slices, key=lambda rows: (rows.shard, rows.row_group))
    passes = [values["row"] for _, of in together for values in read_slices(str(folder), list(of), ["row"])]
    assert [row for rows in passes for row in rows] == expected[:limit]
    ids = [image_id for rows in slices for image_id in name_rows(rows)]
    assert len(set(ids)) == len(ids) == len(read)


def test_a_few_large_rows_are_cut_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path, "a.parquet", {"image": [bytes([row]) * 10_000 for row in range(10)]})
    monkeypatch.setattr(shards, "MAX_BYTES", 30_000)
    slices = cut_shards(str(tmp_path), [name], IngestConfig(), None)
    assert len(slices) == 4
    monkeypatch.setattr(shards, "STREAMED_ROWS", 3)
    # Those that an earlier attempt finished are left out.
    read = list(read_slices(str(tmp_path), [slices[1], slices[3]], ["image"]))
    assert [[row[0] for row in values["image"]] for values in read] == [[2, 3, 4], [7, 8, 9]]


def test_a_row_group_of_gigabytes_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """A hundred images of 1 MB in one row group, read in another process, whose peak of Arrow's memory is looked at."""
    rng = np.random.default_rng(0)
    images = pa.table({"image": [rng.bytes(1_000_000) for _ in range(100)]})
    # A page is the least that can be read at a time.
    pq.write_table(images, tmp_path / "a.parquet", compression="none", use_dictionary=False, write_batch_size=1)
    peak = int(subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], check=True, capture_output=True).stdout)
    assert peak < 80_000_000


PEAK = """
import sys
import pyarrow as pa
from datus2_ray.config.ingest import IngestConfig
from datus2_ray.sources import shards
shards.MAX_BYTES = 10_000_000
slices = shards.cut_shards(sys.argv[1], ["a.parquet"], IngestConfig(), None)
rows = sum(len(values["image"]) for values in shards.read_slices(sys.argv[1], slices, ["image"]))
assert rows == 100 and len(slices) == 11
print(pa.default_memory_pool().max_memory())
"""


def test_a_shard_that_became_shorter_is_noticed(tmp_path: Path) -> None:
    name = write(tmp_path, "a.parquet", {"image": [b"x"] * 300})
    slices = cut_shards(str(tmp_path), [name], IngestConfig(), None)
    write(tmp_path, "a.parquet", {"image": [b"x"] * 290})
    with pytest.raises(StorageError, match=r"a\.parquet is not what it was when the run began"):
        list(read_slices(str(tmp_path), slices, ["image"]))


def test_every_shard_has_columns_of_its_own(tmp_path: Path) -> None:
    struct = [{"bytes": data, "path": "p"} for data in BYTES]
    names = [
        write(tmp_path, "a.parquet", {"image": BYTES, "image_id": ["x", "y", "z"]}),
        write(tmp_path, "b.parquet", {"picture": BYTES, "label": [1, 2, 3]}),
        write(tmp_path, "c.parquet", {"mask": BYTES, "image": struct}),
        write(tmp_path, "captions.parquet", {"text": ["x"]}),
    ]
    slices = cut_shards(str(tmp_path), names, IngestConfig(), None)
    assert [rows.columns for rows in slices] == [
        ShardColumns("image", "image_id", None, None),
        ShardColumns("picture", None, None, None),
        ShardColumns("image.bytes", None, "mask", None, "image.path"),
    ]
    unlabelled = cut_shards(str(tmp_path), names, IngestConfig(), None, labelled=False)
    assert not any(rows.columns.mask for rows in unlabelled)


def test_a_broken_shard_and_columns_that_are_nowhere_are_named(tmp_path: Path) -> None:
    names = [write(tmp_path, "a.parquet", {"image": BYTES}), write(tmp_path, "b.parquet", {"picture": BYTES})]
    with pytest.raises(UsageError, match=r"--image-column image is none of picture; see b\.parquet"):
        cut_shards(str(tmp_path), names, IngestConfig(image_column="image"), None)
    with pytest.raises(UsageError, match=r"no shard has a column seg of encoded masks; see a\.parquet"):
        cut_shards(str(tmp_path), names, IngestConfig(mask_column="seg"), None)
    with pytest.raises(UsageError, match=r"no column of c\.parquet has the bytes of images"):
        cut_shards(str(tmp_path), [write(tmp_path, "c.parquet", {"text": ["x"]})], IngestConfig(), None)
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    damaged: dict[str, str] = {}
    assert {cut.shard for cut in cut_shards(str(tmp_path), names, IngestConfig(), None, True, damaged)} == {"a.parquet"}
    assert set(damaged) == {"b.parquet"}
    with pytest.raises(StorageError, match=r"b\.parquet"):
        cut_shards(str(tmp_path), names[1:], IngestConfig(), None)
