from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.store.columns import list_arrays, list_column


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_come_back_bit_for_bit_also_from_slices_and_chunks(dtype: type) -> None:
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(n, 3)).astype(dtype) if n is not None else None for n in (2, None, 0, 5, 1)]
    column = list_column(rows, pa.list_(pa.from_numpy_dtype(dtype), 3))
    chunked = pa.chunked_array([column.slice(0, 2), column.slice(2)])
    for got in (list_arrays(column), list_arrays(chunked), list_arrays(column.slice(1, 4))):
        for a, b in zip(got, rows[-len(got) :], strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                np.testing.assert_array_equal(a, b)


def test_numbers_come_back(tmp_path: object) -> None:
    rows = [np.array([1, 2], dtype=np.int16), np.array([], dtype=np.int16), None]
    got = list_arrays(list_column(rows, pa.int16()))
    assert [None if a is None else a.tolist() for a in got] == [[1, 2], [], None]


def test_vectors_survive_parquet_with_plain_pyarrow(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import pyarrow.parquet as pq

    rows = [np.arange(6, dtype=np.float16).reshape(2, 3), None]
    pq.write_table(pa.table({"v": list_column(rows, pa.list_(pa.float16(), 3))}), tmp_path / "t.parquet")
    back = pq.read_table(tmp_path / "t.parquet")["v"]
    assert back.to_pylist() == [[[0, 1, 2], [3, 4, 5]], None]
    np.testing.assert_array_equal(list_arrays(back)[0], rows[0])
