"""Two views of images, as they are and mirrored: their segments at several resolutions, found in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datus2_ray.config.stages import DiscoverConfig
from datus2_ray.engine.operators.read_images import PIXELS, pixels_of, scatter
from datus2_ray.engine.operators.segment import FindSegments
from datus2_ray.store import schemas
from datus2_ray.store.columns import list_arrays, list_column


def add_mirror_images(block: pa.Table) -> pa.Table:
    """CPU task: append the mirror images of all images, as rows in the same order."""
    pixels, rows = pixels_of(block)
    flipped = [np.ascontiguousarray(image[:, ::-1]).tobytes() for image in pixels]
    column = pa.array(scatter(flipped, rows, len(block)), pa.binary())
    mirrored = block.set_column(block.column_names.index(PIXELS[0]), PIXELS[0], column)
    return pa.concat_tables([block, mirrored]).combine_chunks()


@dataclass(frozen=True)
class SegmentAtEach:
    """CPU task: find the segments of images and mirror images at every resolution, as the columns of ``sample/``."""

    config: DiscoverConfig
    resolutions: tuple[float, ...]
    seed: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Segment one part."""
        tables = []
        for value in self.resolutions:
            config = self.config.model_copy(update={"resolution": value})
            tables.append(FindSegments(config, self.seed)(block))
        count = len(block) // 2
        columns: dict[str, list[np.ndarray | None]] = {"sizes": [], "patch_map": [], "descriptors": []}
        for name, rows in columns.items():
            arrays = [list_arrays(table[name]) for table in tables]
            for i in range(count):
                views = [column[row] for row in (i, count + i) for column in arrays]
                present = [view for view in views if view is not None]
                if len(present) < len(views):
                    rows.append(None)  # an image that could not be decoded
                elif name == "sizes":
                    rows.append(np.array([len(view) for view in present], dtype=np.int32))
                else:
                    rows.append(np.concatenate(present))
        dim = tables[0].schema.field("descriptors").type.value_type.list_size
        schema = schemas.sample(dim)
        kept = block.slice(0, count).select(["image_id", "grid_height", "grid_width"])
        for name, rows in zip(("segments", "patch_maps", "descriptors"), columns.values(), strict=True):
            kept = kept.append_column(name, list_column(rows, schema.field(name).type.value_type))
        kept = kept.cast(schema)
        for name in ("part", "fault_kind", "fault_message"):
            kept = kept.append_column(name, block[name].slice(0, count))
        return kept


@dataclass(frozen=True)
class View:
    """The segments of every image of the sample in one view, at one resolution.

    Of each image: ``maps`` the segment of every patch, -1 = noise, int16, shape (h, w), and ``descriptors`` float32,
    shape (S, D).
    """

    maps: list[np.ndarray]
    descriptors: list[np.ndarray]


def read_views(sample: pa.Table, resolutions: Sequence[float], resolution: float) -> tuple[View, View]:
    """Read the views of :class:`SegmentAtEach` at a resolution: as they are, and mirrored, with maps flipped back."""
    count, position = len(resolutions), list(resolutions).index(resolution)
    views = View([], []), View([], [])
    grids = zip(sample["grid_height"].to_pylist(), sample["grid_width"].to_pylist(), strict=True)
    columns = [list_arrays(sample[name]) for name in ("segments", "patch_maps", "descriptors")]
    for (height, width), counts, maps, descriptors in zip(grids, *columns, strict=True):
        by_view = np.split(np.asarray(descriptors), np.cumsum(np.asarray(counts))[:-1])
        grid = np.asarray(maps).reshape(2, count, height, width)[:, position]
        for number, view in enumerate(views):
            view.maps.append(grid[number][:, ::-1] if number else grid[number])
            view.descriptors.append(by_view[number * count + position])
    return views
