"""Label: segments and centroids to the initial masks: every patch of a segment gets its cluster, at the image's size.

Borders are those of the patches, or follow the edges of the image (PAMR, in an actor pool).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images.labels import encode_labels, paint, patch_labels, upsample_nearest
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.encode import FAULT_COLUMNS, encode_masks
from datus2_ray.engine.operators.read_images import PIXELS, ReadImages
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.facts import Clustered, Discovered, Encoded, Ingested, Labelled

if TYPE_CHECKING:
    from datus2_ray.core.cluster.clusters import Clusters

#: Side of the square at which borders are drawn along the edges of an image, in pixels; fine enough for patches of 8.
WORKING_SIZE = 224

#: Parts read at a time when areas are added: from an object store each is a round trip.
READ_THREADS = 16


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    # Imported here: every process imports the declarations, and numba and SciPy take half a second.
    from datus2_ray.engine.clustering.table import read_clusters

    clusters = read_clusters(run.commit(Clustered), run.required_k)
    labelled = Operator(LabelSegments(run.described.uri, clusters))
    if run.config.label.edges == "patches":
        return [labelled, Operator(draw_patches)]
    # Imported here: the tasks that import this module have no need of torch.
    from datus2_ray.stages.label.sharpen import SharpenMasks

    read = ReadImages(ImagesTable.of(run.commit(Ingested)), WORKING_SIZE, heartbeat)
    sharpen = Operator(SharpenMasks, placement.pools["sharpen"], (placement.device, heartbeat))
    return [labelled, Operator(AddPixels(read)), sharpen, Operator(encode_drawn)]


@dataclass(frozen=True)
class LabelSegments:
    """CPU task: label the segments of a part, whose descriptors are in `folder`, by their nearest centroid."""

    folder: str
    clusters: Clusters

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the columns of the table; in place of ``mask``, the labels of the patches and their grid."""
        part = block["part"][0].as_py()
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "patch_map", "descriptors"]
        table = parquet.read_table(storage.join(self.folder, part), columns)
        maps, descriptors = list_arrays(table["patch_map"]), list_arrays(table["descriptors"])
        table = table.drop_columns(["patch_map", "descriptors"])
        nearest = [self.clusters.nearest(np.asarray(rows)) for rows in descriptors]
        labels = [self.clusters.members[found.fine] for found in nearest]
        patches = [
            paint(np.asarray(patch_map), of_segments, self.clusters.k).tobytes()
            for patch_map, of_segments in zip(maps, labels, strict=True)
        ]
        added = {
            "patches": pa.array(patches, pa.binary()),
            "segment_clusters": list_column(labels, pa.int32()),
            "segment_distances": list_column([found.distances for found in nearest], pa.float32()),
            "segment_fine": list_column([found.fine for found in nearest], pa.int32()),
            "segment_second": list_column([found.second for found in nearest], pa.int32()),
            "segment_second_distances": list_column([found.second_distances for found in nearest], pa.float32()),
            "part": pa.array([part] * len(table), pa.string()),
        }
        for name, column in added.items():
            table = table.append_column(name, column)
        return table


def draw_patches(block: pa.Table) -> pa.Table:
    """CPU task: give every pixel the label of its patch, and encode the masks as PNG files."""
    masks = []
    for row in block.select(["patches", "grid_height", "grid_width", "height", "width"]).to_pylist():
        patches = patch_labels(row["patches"], row["grid_height"], row["grid_width"])
        masks.append(encode_labels(upsample_nearest(patches, row["height"], row["width"])))
    block = block.append_column("mask", pa.array(masks, schemas.MASKS.field("mask").type))
    return block.select([*schemas.INITIAL_MASKS.names, "part"])


def encode_drawn(block: pa.Table) -> pa.Table:
    """CPU task: encode the labels of pixels as PNG files; an image that could not be read again is a fault."""
    return encode_masks(block).select([*schemas.INITIAL_MASKS.names, "part", *FAULT_COLUMNS])


@dataclass(frozen=True)
class AddPixels:
    """CPU task: put the decoded images beside the labels of their patches."""

    read: ReadImages

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part; an image that could be read before, and cannot be now, is a fault."""
        images = self.read(block)
        images = images.take(pc.index_in(block["image_id"], value_set=images["image_id"].combine_chunks()))
        for name in (*PIXELS, *FAULT_COLUMNS):
            block = block.append_column(name, images[name])
        return block


def _facts(run: Run, placement: Placement) -> Labelled:
    """Return how many pixels the segments of every fine cluster have, which says how much a name of it is worth."""
    described, parts = run.described, sorted(run.commit(Discovered).parts)

    def count(part: str) -> tuple[np.ndarray, int]:
        fine = parquet.read_table(placement.path(part), ["image_id", "segment_fine"])
        columns = ["image_id", "sizes", "height", "width", "grid_height", "grid_width"]
        table = parquet.read_table(described.path(part), columns)
        table = table.take(pc.index_in(fine["image_id"], value_set=table["image_id"].combine_chunks()))
        heights, widths, *grid = (table[name].to_numpy().astype(np.int64) for name in columns[2:])
        of_patch = heights * widths / (grid[0] * grid[1])
        areas = np.zeros(leaves)
        for numbers, sizes, pixels in zip(
            list_arrays(fine["segment_fine"]), list_arrays(table["sizes"]), of_patch, strict=True
        ):
            np.add.at(areas, np.asarray(numbers), np.asarray(sizes) * pixels)
        return areas, int((heights * widths).sum())

    leaves = run.facts(Clustered).centroids
    with ThreadPoolExecutor(READ_THREADS) as threads:
        counted = list(threads.map(count, parts))
    areas = np.sum([areas for areas, _ in counted], axis=0).round().astype(np.int64)
    return Labelled(tuple(areas.tolist()), sum(pixels for _, pixels in counted))


def _decides(run: Run, device: Device) -> dict[str, Any]:
    edges = run.config.label.edges
    # Without models the device decides nothing.
    return {"k": run.required_k, **({"edges": edges, "device": device} if edges != "patches" else {})}


def _uses(prospect: Prospect) -> list[Use]:
    if prospect.config.label.edges == "patches":
        return [part_tasks(prospect)]
    return [part_tasks(prospect, 3 * WORKING_SIZE**2), model_actors(prospect, "sharpen")]


LABEL = Stage(
    facts=Labelled,
    title="Write the initial masks: the cluster of every segment",
    writes={"part-*.parquet": "per image: mask as PNG; per segment: cluster, the two nearest fine clusters, distances"},
    version=4,
    reads=(Discovered, Clustered),
    may_read=(Ingested, Encoded),
    decides=_decides,
    uses=_uses,
    work=PerPart(
        operators=_operators,
        facts=_facts,
        parts=lambda run: run.commit(Discovered).parts,
    ),
)
