"""Reading a part of ``images/``: encoded bytes in, pixels at the side a model sees out, faults carried as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from datus2_ray.core import images
from datus2_ray.errors import ImageError
from datus2_ray.images_table import ImagesTable
from datus2_ray.stages.heartbeat import Heartbeat

T = TypeVar("T")


@dataclass(frozen=True)
class ReadImages:
    """Turns a block that names a part into that part's images, decoded and resized to a square.

    Parameters
    ----------
    table : ImagesTable
        The run's images.
    size : int
        Side of the square, in pixels.
    heartbeat : Heartbeat
        Told as the images are decoded.
    reduced : bool
        Whether a JPEG is decoded at a fraction of its size where that is enough for `size`.

    Notes
    -----
    The block has the columns ``part``, ``image_id``, ``height``, ``width`` (of the image itself), ``pixels`` (uint8,
    ``size · size · 3`` bytes; null where the image could not be decoded) and the two fault columns. Pixels travel as
    uint8 bytes, never as float: a quarter of the traffic.
    """

    table: ImagesTable
    size: int
    heartbeat: Heartbeat
    reduced: bool = False

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        part = block["part"][0].as_py()
        table = self.table.read(part, ["image_id", "height", "width", "image"])
        pixels: list[bytes | None] = []
        faults: list[ImageError | None] = []
        for data in self.heartbeat.through(table["image"].to_pylist()):
            try:
                decoded = images.decode(data, self.size if self.reduced else None)
                pixels.append(images.resize(decoded, self.size, self.size).tobytes())
                faults.append(None)
            except ImageError as fault:
                pixels.append(None)
                faults.append(fault)
        table = table.drop_columns(["image"]).append_column("pixels", pa.array(pixels, pa.binary()))
        return with_faults(table.append_column("part", pa.array([part] * len(table), pa.string())), faults)


def with_faults(table: pa.Table, faults: list[ImageError | None]) -> pa.Table:
    """Append the two columns by which a row that could not be used carries its fault to the stage's end."""
    kinds = pa.array([fault.kind if fault else None for fault in faults], pa.string())
    messages = pa.array([fault.message if fault else None for fault in faults], pa.string())
    return table.append_column("fault_kind", kinds).append_column("fault_message", messages)


def pixels_of(block: pa.Table, size: int) -> tuple[np.ndarray, list[int]]:
    """Give the pixels of a block's well rows.

    Parameters
    ----------
    block : Table
        As :class:`ReadImages` makes it.
    size : int
        Side of the square, in pixels.

    Returns
    -------
    pixels : ndarray
        uint8, shape (n, size, size, 3).
    rows : list of int
        Their rows in the block.
    """
    rows = [row for row, well in enumerate(block["pixels"].is_valid().to_pylist()) if well]
    column = block["pixels"].combine_chunks()
    flat = [np.frombuffer(column[row].as_buffer(), dtype=np.uint8) for row in rows]
    return np.array(flat, dtype=np.uint8).reshape(len(rows), size, size, 3), rows


def scatter(values: Sequence[T], rows: list[int], length: int) -> list[T | None]:
    """Place the values of well rows into a column that is null elsewhere."""
    column: list[T | None] = [None] * length
    for row, value in zip(rows, values, strict=True):
        column[row] = value
    return column
