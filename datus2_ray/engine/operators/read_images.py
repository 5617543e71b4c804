"""Reading a part of ``images/``: encoded bytes in, pixels at the side a model sees out, faults carried as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.resize import fit, resize
from datus2_ray.core.views.windows import Windows
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.errors import DamagedFileError, ImageError
from datus2_ray.sources.images_table import ImagesTable

T = TypeVar("T")

#: Columns that hold the decoded images.
PIXELS = ["pixels", "pixel_height", "pixel_width"]


@dataclass(frozen=True)
class ReadImages:
    """Turns a block that names a part into that part's images, decoded and resized.

    Parameters
    ----------
    size : int
        Side of the square that they are resized to, in pixels; with `patch` the shorter side.
    reduced : bool
        Whether a JPEG is decoded at a fraction of its size where that is enough for `size`.
    patch : int, optional
        Keep the aspect; the longer side is a multiple of this.
    windows : Windows, optional
        How large images are seen; without, all are seen whole.

    Notes
    -----
    The block has the columns ``part``, ``image_id``, ``height``, ``width`` (of the image itself), ``pixel_height``,
    ``pixel_width``, ``pixels`` (uint8 RGB of that size; null where the image could not be decoded) and the two fault
    columns. Pixels travel as uint8 bytes, never as float: a quarter of the traffic.
    """

    table: ImagesTable
    size: int
    heartbeat: Heartbeat
    reduced: bool = False
    patch: int | None = None
    windows: Windows | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        part = block["part"][0].as_py()
        columns = ["image_id", "height", "width", "image"]
        try:
            table, damage = self.table.read(part, columns), None
        except DamagedFileError as error:
            # Of shards of `datus2 ingest` the images are read here for the first time.
            table, damage = self.table.read(part, columns[:-1]), ImageError("unreadable", str(error))
            table = table.append_column("image", pa.nulls(len(table), pa.binary()))
        pixels: list[bytes | None] = []
        faults: list[ImageError | None] = []
        # The image's own sides: one decoded at reduced scale has them rounded.
        sizes = [self._fit(*own) for own in zip(table["height"].to_pylist(), table["width"].to_pylist(), strict=True)]
        for data, size in zip(self.heartbeat.through(table["image"].to_pylist()), sizes, strict=True):
            try:
                if damage is not None:
                    raise damage
                decoded = self.table.decode(data, min(size) if self.reduced else None)
                pixels.append(resize(decoded, *size).tobytes())
                faults.append(None)
            except ImageError as fault:
                pixels.append(None)
                faults.append(fault)
        table = table.drop_columns(["image"]).append_column("pixels", pa.array(pixels, pa.binary()))
        for name, sides in zip(PIXELS[1:], np.array(sizes, dtype=np.int32).reshape(-1, 2).T, strict=True):
            table = table.append_column(name, pa.array(sides))
        return with_faults(table.append_column("part", pa.array([part] * len(table), pa.string())), faults)

    def _fit(self, height: int, width: int) -> tuple[int, int]:
        if self.windows is not None and (grid := self.windows.grid(height, width)) is not None:
            return grid[0] * self.windows.patch, grid[1] * self.windows.patch
        return (self.size, self.size) if self.patch is None else fit(height, width, self.size, self.patch)


def with_faults(table: pa.Table, faults: list[ImageError | None]) -> pa.Table:
    """Append the two columns by which a row that could not be used carries its fault to the stage's end."""
    kinds = pa.array([fault.kind if fault else None for fault in faults], pa.string())
    messages = pa.array([fault.message if fault else None for fault in faults], pa.string())
    return table.append_column("fault_kind", kinds).append_column("fault_message", messages)


def pixels_of(block: pa.Table) -> tuple[list[np.ndarray], list[int]]:
    """Return the pixels of a block's usable rows, uint8 (H, W, 3), read-only views, and their row numbers."""
    rows = [row for row, well in enumerate(block["pixels"].is_valid().to_pylist()) if well]
    column = block["pixels"].combine_chunks()
    heights, widths = block["pixel_height"].to_pylist(), block["pixel_width"].to_pylist()
    flat = (np.frombuffer(column[row].as_buffer(), dtype=np.uint8) for row in rows)
    return [values.reshape(heights[row], widths[row], 3) for values, row in zip(flat, rows, strict=True)], rows


def scatter(values: Sequence[T], rows: list[int], length: int) -> list[T | None]:
    """Place the values of well rows into a column that is null elsewhere."""
    column: list[T | None] = [None] * length
    for row, value in zip(rows, values, strict=True):
        column[row] = value
    return column
