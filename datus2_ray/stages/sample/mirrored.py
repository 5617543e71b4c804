"""Views: the segments of images and their mirror images at several resolutions, found in one pass over a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from datus2_ray.config.stages import DiscoverConfig
from datus2_ray.engine.read_images import PIXELS, pixels_of, scatter
from datus2_ray.stages.discover.segment import FindSegments
from datus2_ray.store import schemas
from datus2_ray.store.columns import list_arrays, list_column


def add_mirror_images(block: pa.Table) -> pa.Table:
    """CPU task: append every image's mirror image, as a row of its own after all that are as they are."""
    pixels, rows = pixels_of(block)
    turned = [np.ascontiguousarray(image[:, ::-1]).tobytes() for image in pixels]
    column = pa.array(scatter(turned, rows, len(block)), pa.binary())
    mirrored = block.set_column(block.column_names.index(PIXELS[0]), PIXELS[0], column)
    return pa.concat_tables([block, mirrored]).combine_chunks()


@dataclass(frozen=True)
class SegmentAtEach:
    """CPU task: finds the segments of images and mirror images at every resolution, and brings them together.

    Parameters
    ----------
    config : DiscoverConfig
        How they are found, but for the resolution.
    resolutions : tuple of float
        The resolutions.
    seed : int
        The run's seed.
    """

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
                views = [found[row] for row in (i, count + i) for found in arrays]
                if any(view is None for view in views):
                    rows.append(None)  # an image that could not be decoded
                elif name == "sizes":
                    rows.append(np.array([len(np.asarray(view)) for view in views], dtype=np.int32))
                else:
                    rows.append(np.concatenate([np.asarray(view) for view in views]))
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

    Parameters
    ----------
    maps : list of ndarray
        Segment of every patch, -1 = noise, int16, shape (h, w).
    descriptors : list of ndarray
        float32, shape (S, D).
    """

    maps: list[np.ndarray]
    descriptors: list[np.ndarray]


def read_views(sample: pa.Table, resolutions: Sequence[float], resolution: float) -> tuple[View, View]:
    """Read what :class:`SegmentAtEach` found at a resolution: the images as they are, and turned back, mirrored."""
    count, at = len(resolutions), list(resolutions).index(resolution)
    views = View([], []), View([], [])
    grids = zip(sample["grid_height"].to_pylist(), sample["grid_width"].to_pylist(), strict=True)
    columns = [list_arrays(sample[name]) for name in ("segments", "patch_maps", "descriptors")]
    for (height, width), counts, maps, descriptors in zip(grids, *columns, strict=True):
        ends = np.cumsum(np.asarray(counts))
        grid = np.asarray(maps).reshape(2, count, height, width)
        for number, view in enumerate(views):
            place = number * count + at
            patch_map = grid[number, at]
            view.maps.append(patch_map[:, ::-1] if number else patch_map)
            view.descriptors.append(np.asarray(descriptors)[ends[place] - np.asarray(counts)[place] : ends[place]])
    return views
