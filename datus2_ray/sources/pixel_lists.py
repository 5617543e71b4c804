"""Columns of shards that hold pictures as lists of numbers: of bytes, or of pixels, which become PNG files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from datus2_ray.errors import ImageError

#: Values of an image by the number of lists around them: [height][width], or with channels first or last.
DEPTHS = (2, 3)

CHANNELS = (1, 3, 4)


def list_depth(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """Return how many lists are around the values of a column, and the type of these."""
    depth = 0
    while (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    ):
        depth, kind = depth + 1, kind.value_type
    return depth, kind


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether each row of a column is a list of the bytes of a file."""
    depth, value = list_depth(kind)
    return depth == 1 and bool(pa.types.is_uint8(value))


def is_pixels(kind: pa.DataType) -> bool:
    """Return whether each row of a column may be a list of lists of whole pixel values."""
    depth, value = list_depth(kind)
    return depth in DEPTHS and bool(pa.types.is_integer(value))


def to_python(column: pa.ChunkedArray) -> list[Any]:
    """Return the rows of a column; lists of numbers as the bytes of a file, or why they are none."""
    if is_bytes(column.type):
        return [None if row is None else np.array(row, np.uint8).tobytes() for row in _rows(column)]
    if is_pixels(column.type):
        return [None if row is None else _encode(row) for row in _rows(column)]
    rows: list[Any] = column.to_pylist()
    return rows


def _rows(column: pa.ChunkedArray) -> list[Any]:
    """Return every row as an array of its values, None for a null, and a fault where lists are of several lengths."""
    depth, _ = list_depth(column.type)
    rows: list[Any] = []
    for row in column:
        if not row.is_valid:
            rows.append(None)
            continue
        values, shape = row.values, [len(row.values)]
        for _ in range(depth - 1):
            lengths = pc.unique(pc.list_value_length(values))
            if len(lengths) != 1 or values.null_count:
                rows.append(ImageError("unreadable", "its lists of pixels have several lengths, or are empty"))
                break
            shape.append(lengths[0].as_py())
            values = values.flatten()
        else:
            if values.null_count:
                rows.append(ImageError("unreadable", "some of its pixels have no value"))
            else:
                rows.append(values.to_numpy(zero_copy_only=False).reshape(shape))
    return rows


def _encode(pixels: Any) -> bytes | ImageError:
    """Return pixels as PNG, of 8 bits, or of 16 where values are larger and have no channels."""
    if isinstance(pixels, ImageError):
        return pixels
    if pixels.ndim == 3 and pixels.shape[2] not in CHANNELS and pixels.shape[0] in CHANNELS:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    most = 65535 if pixels.ndim == 2 else 255
    shown = "x".join(map(str, pixels.shape))
    if not pixels.size or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS):
        return ImageError("unreadable", f"its list of {shown} values is no image")
    if pixels.min() < 0 or pixels.max() > most:
        return ImageError("unreadable", f"its list of {shown} values has some below 0 or above {most}")
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8 if pixels.max() < 256 else np.uint16)).save(file, "PNG", compress_level=1)
    return file.getvalue()
