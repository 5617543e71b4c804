from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datus2_ray.errors import DamagedFileError, MissingFileError, StorageError
from datus2_ray.store import parquet, schemas, storage


def test_tables_come_back(tmp_path: Path) -> None:
    uri, table = storage.join(str(tmp_path), "t.parquet"), pa.table({"x": [1, 2, 3], "y": ["a", "b", None]})
    parquet.write_table(uri, table, row_group_rows=2)
    assert parquet.read_table(uri).equals(table)
    assert parquet.read_table(uri, ["y"]).equals(table.select(["y"]))
    assert parquet.read_schema(uri) == table.schema
    assert parquet.count_rows(uri) == 3
    assert parquet.read_row_group(uri, 1, ["x"])["x"].to_pylist() == [3]
    assert pa.concat_tables(parquet.stream_row_group(uri, 0, ["x"], 1))["x"].to_pylist() == [1, 2]


def test_a_text_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    with pytest.raises(DamagedFileError, match="cannot read the table"):
        parquet.read_table(str(tmp_path / "f"))
    with pytest.raises(StorageError) as caught:
        parquet.read_table(str(tmp_path / "none"))
    assert not isinstance(caught.value, DamagedFileError | MissingFileError)


def test_vectors_and_images_have_no_dictionary_and_the_table_is_the_same(tmp_path: Path) -> None:
    tokens = np.arange(12, dtype=np.float16).reshape(2, 3, 2)
    columns = {
        "image_id": pa.array(["a", "b"]),
        "image": pa.array([b"1", b"2"]),
        "labels": pa.array([b"1", b"2"], pa.large_binary()),
        "tokens": pa.array([list(map(list, one)) for one in tokens], pa.list_(pa.list_(pa.float16(), 2))),
        "sizes": pa.array([[1, 2], [3]], pa.list_(pa.int32())),
        "cells": pa.array([[[1, 2]], []], pa.list_(pa.list_(pa.int64(), 2))),
        "codes": pa.array([[{"name": "x", "share": 0.5}], None]),
        "score": pa.array([0.5, None]),
    }
    table, file = pa.table(columns), tmp_path / "table.parquet"
    parquet.write_table(str(file), table)
    assert parquet.read_table(str(file)).equals(table)
    group = pq.ParquetFile(file).metadata.row_group(0)
    found = [group.column(number) for number in range(group.num_columns)]
    repeated = [column.path_in_schema for column in found if column.has_dictionary_page]
    assert repeated == parquet.dictionary_columns(table.schema)
    assert [path.partition(".")[0] for path in repeated] == ["image_id", "sizes", "cells", "codes"]


def test_every_path_is_one_of_the_file(tmp_path: Path) -> None:
    kept = [schema for schema in vars(schemas).values() if isinstance(schema, pa.Schema)]
    assert len(kept) > 10
    for number, schema in enumerate([*kept, schemas.segments(3, 4)]):
        file = tmp_path / f"{number}.parquet"
        parquet.write_table(str(file), schema.empty_table())
        written = pq.ParquetFile(file).metadata.schema
        paths = {written.column(place).path for place in range(len(written.names))}
        assert set(parquet.dictionary_columns(schema)) <= paths
