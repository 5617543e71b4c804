from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from datus2_ray.errors import DamagedFileError, MissingFileError, StorageError
from datus2_ray.store import parquet, storage


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
