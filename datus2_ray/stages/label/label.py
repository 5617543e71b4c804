"""Label: segments + centroids → ``masks/initial/``: every patch of a valid segment gets its cluster, at pixel size.

Borders are those of the patches, or follow the edges of the image (PAMR, in an actor pool).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.images.labels import NOISE_8, NOISE_16, encode_labels, patch_labels, upsample_nearest
from datus2_ray.engine.clusters_table import read_clusters
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Cluster, choose_device
from datus2_ray.engine.parts import FAULT_COLUMNS, map_parts, run_stage
from datus2_ray.engine.pools import plan_pool
from datus2_ray.engine.read_images import PIXELS, ReadImages
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.predict.predict import encode_masks
from datus2_ray.store import schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.run_folder import Commit, RunFolder, fingerprint

VERSION = 1

#: Side of the square at which borders are drawn along the edges of an image, in pixels; fine enough for patches of 8.
WORKING_SIZE = 224


def label(context: RunContext, segments: Commit, model: RunFolder) -> Commit:
    """Write the initial masks.

    Parameters
    ----------
    context : RunContext
        The run.
    segments : Commit
        What discover committed.
    model : RunFolder
        The run whose centroids are used: this one, or another that did not see these images.

    Returns
    -------
    Commit
        Of ``masks/initial/``.
    """
    identity = context.config.label.identity() if context.config.label.edges != "patches" else {}
    stamp = fingerprint("label", VERSION, identity, [segments.fingerprint, model.require("clusters").fingerprint])
    find = LabelSegments(context.folder.path("segments"), read_clusters(model))

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        parts = map_parts(parts, find)
        if context.config.label.edges == "patches":
            return map_parts(parts, draw_patches)
        # Imported here: the tasks that import this module have no need of torch.
        from datus2_ray.stages.label.sharpen import SharpenMasks

        cluster = Cluster.now()
        device = choose_device(cluster, context.config.device)
        pool = plan_pool(cluster, device, context.config.discover, pools=1, parts=len(segments.parts))
        read = ReadImages(ImagesTable.of(context.folder), WORKING_SIZE, heartbeat)
        parts = map_parts(map_parts(parts, AddPixels(read)), SharpenMasks, pool, pool.device, heartbeat)
        return map_parts(parts, encode_drawn)

    return run_stage(context, "label", "masks/initial", stamp, segments.parts, build)


@dataclass(frozen=True)
class LabelSegments:
    """CPU task: labels the patches of a part of ``segments/``.

    Parameters
    ----------
    folder : str
        URI of ``segments/``.
    clusters : Clusters
        The centroids.
    """

    folder: str
    clusters: Clusters

    def __call__(self, block: pa.Table) -> pa.Table:
        """Give the columns of ``masks/initial/``; for ``mask``, the labels of the patches and their grid."""
        part = block["part"][0].as_py()
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "patch_map", "descriptors"]
        table = storage.read_table(storage.join(self.folder, part), columns)
        maps, descriptors = list_arrays(table["patch_map"]), list_arrays(table["descriptors"])
        table = table.drop_columns(["patch_map", "descriptors"])
        labelled = [self.clusters.assign(np.asarray(rows)) for rows in descriptors]
        patches = [
            paint(np.asarray(patch_map), labels, self.clusters.k).tobytes()
            for patch_map, (labels, _) in zip(maps, labelled, strict=True)
        ]
        found = {
            "patches": pa.array(patches, pa.binary()),
            "segment_clusters": list_column([labels for labels, _ in labelled], pa.int32()),
            "segment_distances": list_column([distances for _, distances in labelled], pa.float32()),
            "part": pa.array([part] * len(table), pa.string()),
        }
        for name, column in found.items():
            table = table.append_column(name, column)
        return table


def draw_patches(block: pa.Table) -> pa.Table:
    """CPU task: every pixel takes the label of its patch, and masks become PNG files."""
    sizes = block.select(["patches", "grid_height", "grid_width", "height", "width"]).to_pylist()
    masks = [
        encode_labels(
            upsample_nearest(
                patch_labels(row["patches"], row["grid_height"], row["grid_width"]), row["height"], row["width"]
            )
        )
        for row in sizes
    ]
    block = block.append_column("mask", pa.array(masks, schemas.MASKS.field("mask").type))
    return block.select([*schemas.INITIAL_MASKS.names, "part"])


def encode_drawn(block: pa.Table) -> pa.Table:
    """CPU task: the labels of pixels become PNG files, and an image that could not be read again a fault."""
    return encode_masks(block).select([*schemas.INITIAL_MASKS.names, "part", *FAULT_COLUMNS])


@dataclass(frozen=True)
class AddPixels:
    """CPU task: puts the images beside the labels of their patches.

    Parameters
    ----------
    read : ReadImages
        Reads and decodes those of a part.
    """

    read: ReadImages

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part; an image that could be read before, and cannot be now, is a fault."""
        images = self.read(block)
        rows = pc.index_in(block["image_id"], value_set=images["image_id"].combine_chunks())
        images = images.take(rows)
        for name in (*PIXELS, *FAULT_COLUMNS):
            block = block.append_column(name, images[name])
        return block


def paint(patch_map: np.ndarray, labels: np.ndarray, clusters: int) -> np.ndarray:
    """Give every patch the cluster of its segment.

    Parameters
    ----------
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w).
    labels : ndarray
        Cluster of every segment, shape (S,).
    clusters : int
        K, which decides how many bits a label takes.

    Returns
    -------
    ndarray
        uint8 with noise 255, or uint16 with noise 65535 for more than 254 clusters; shape (h, w).
    """
    noise, dtype = (NOISE_8, np.uint8) if clusters < NOISE_8 else (NOISE_16, np.uint16)
    palette = np.append(labels, noise).astype(dtype)
    # Index -1, the noise patches, picks the value appended last.
    mask: np.ndarray = palette[patch_map]
    return mask
