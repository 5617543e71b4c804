"""Two views of images, as they are and mirrored, with the segments of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datus2_ray.engine.operators.read_images import PIXELS, pixels_of, scatter
from datus2_ray.store import schemas
from datus2_ray.store.columns import list_arrays

#: Columns of a mirror image's segments begin with this.
MIRRORED = "mirrored_"


def add_mirror_images(block: pa.Table) -> pa.Table:
    """CPU task: append the mirror images of all images, as rows in the same order."""
    pixels, rows = pixels_of(block)
    flipped = [np.ascontiguousarray(image[:, ::-1]).tobytes() for image in pixels]
    column = pa.array(scatter(flipped, rows, len(block)), pa.binary())
    mirrored = block.set_column(block.column_names.index(PIXELS[0]), PIXELS[0], column)
    return pa.concat_tables([block, mirrored]).combine_chunks()


def pair_views(block: pa.Table) -> pa.Table:
    """CPU task: put the segments of the mirror images beside those of the images, as the columns of ``sample/``."""
    count = len(block) // 2
    images = block.slice(0, count)
    for name in ("patch_map", "descriptors"):
        images = images.append_column(f"{MIRRORED}{name}", block[name].slice(count))
    schema = schemas.sample(block.schema.field("descriptors").type.value_type.list_size)
    kept = images.select(schema.names).cast(schema)
    for name in ("part", "fault_kind", "fault_message"):
        kept = kept.append_column(name, images[name])
    return kept


@dataclass(frozen=True)
class View:
    """The segments of every image of the sample in one view.

    Of each image: ``maps`` the segment of every patch, -1 = noise, int16, shape (h, w), and ``descriptors`` float32,
    shape (S, D).
    """

    maps: list[np.ndarray]
    descriptors: list[np.ndarray]


def read_views(sample: pa.Table) -> tuple[View, View]:
    """Read the views of :func:`pair_views`: as they are, and mirrored, with maps flipped back."""
    grids = list(zip(sample["grid_height"].to_pylist(), sample["grid_width"].to_pylist(), strict=True))

    def read(prefix: str, step: int) -> View:
        maps = zip(list_arrays(sample[f"{prefix}patch_map"]), grids, strict=True)
        descriptors = list_arrays(sample[f"{prefix}descriptors"])
        return View([np.asarray(one).reshape(grid)[:, ::step] for one, grid in maps], [*map(np.asarray, descriptors)])

    return read("", 1), read(MIRRORED, -1)
