"""Read the images of a self-supervised training: a part's images of some lanes, decoded and resized.

torch is not imported: it would cost every process that only decodes images half a gigabyte and some seconds.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datus2_ray.core.images.resize import resize
from datus2_ray.engine.training.read import read_parts
from datus2_ray.engine.training.shares import Split, hash_id
from datus2_ray.sources.images_table import ImagesTable

#: Lane, hash, and pixels of shape [3, S, S].
Row = tuple[int, int, NDArray[np.uint8]]

_ROWS = pa.schema([("lane", pa.int32()), ("hash", pa.uint64()), ("image", pa.binary())])


@dataclass(frozen=True)
class ReadLanes:
    """CPU task: turns a block that names a part into that part's images of the wanted lanes.

    They are decoded and resized to squares of ``size`` pixels per side (bicubic).
    """

    images: ImagesTable
    lanes: Split
    wanted: Container[int]
    size: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        part = block["part"][0].as_py()
        ids = self.images.read(part, ["image_id"])["image_id"].to_pylist()
        lanes = [self.lanes.share(image_id) for image_id in ids]
        rows = []
        if any(lane in self.wanted for lane in lanes):
            encoded = self.images.read(part, ["image"])["image"]
            for image_id, lane, image in zip(ids, lanes, encoded, strict=True):
                if lane in self.wanted:
                    pixels = resize(self.images.decode(image.as_py()), self.size, self.size)
                    rows.append({"lane": lane, "hash": hash_id(self.lanes.seed, image_id), "image": pixels.tobytes()})
        return pa.Table.from_pylist(rows, _ROWS)


def read_lanes(
    table: ImagesTable, parts: Sequence[str], lanes: Split, wanted: Container[int], size: int
) -> Iterator[list[Row]]:
    """Read parts in their order; yield the wanted images of a part, or of some of it."""
    for block in read_parts(parts, ReadLanes(table, lanes, wanted, size)):
        pixels = (np.frombuffer(image.as_py(), np.uint8).reshape(size, size, 3) for image in block["image"])
        keys = zip(block["lane"].to_pylist(), block["hash"].to_pylist(), strict=True)
        yield [(*key, image.transpose(2, 0, 1)) for key, image in zip(keys, pixels, strict=True)]
