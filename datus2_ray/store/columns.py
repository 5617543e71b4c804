"""Columns of arrays: one NumPy array per row, stored as Arrow lists that any Parquet reader understands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def list_column(rows: Sequence[np.ndarray | None], item: pa.DataType) -> pa.Array:
    """Build a column of type ``list<item>``, in which None is null.

    The arrays have shape (n,) if `item` is a number, and (n, D) if it is a fixed-size list of D numbers.
    """
    vector = pa.types.is_fixed_size_list(item)
    number = item.value_type if vector else item
    width = item.list_size if vector else 1
    lengths = [0 if row is None else len(row) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    present = [np.ascontiguousarray(row, dtype=number.to_pandas_dtype()).reshape(-1) for row in rows if row is not None]
    flat = np.concatenate(present) if present else np.empty(0, dtype=number.to_pandas_dtype())
    values = pa.array(flat, number)
    if vector:
        values = pa.FixedSizeListArray.from_arrays(values, width)
    null = np.array([row is None for row in rows], dtype=bool)
    return pa.ListArray.from_arrays(offsets, values, type=pa.list_(item), mask=pa.array(null))


def list_arrays(column: pa.ChunkedArray | pa.Array) -> list[np.ndarray | None]:
    """Return the rows of a column made by :func:`list_column` as read-only views; null is None."""
    arrays: list[np.ndarray | None] = []
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        items, offsets = chunk.values, chunk.offsets.to_numpy()
        width = items.type.list_size if pa.types.is_fixed_size_list(items.type) else None
        # A sliced array keeps its parent's values, so the items are addressed from the parent's start.
        flat = (items.values if width else items).to_numpy(zero_copy_only=False)
        start = items.offset * width if width else 0
        table = flat[start : start + len(items) * width].reshape(-1, width) if width else flat
        present = chunk.is_valid().to_numpy(zero_copy_only=False)
        arrays += [table[offsets[i] : offsets[i + 1]] if present[i] else None for i in range(len(chunk))]
    return arrays
