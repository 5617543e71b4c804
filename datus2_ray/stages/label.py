"""Label: segments + centroids → ``masks/initial/``: every patch of a valid segment gets its cluster, at pixel size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray.data

from datus2_ray import schemas, storage
from datus2_ray.columns import list_arrays
from datus2_ray.context import RunContext
from datus2_ray.core.masks import NOISE_8, NOISE_16, encode_labels, upsample_nearest
from datus2_ray.run_folder import Commit, RunFolder, fingerprint
from datus2_ray.stages.cluster import Clusters, read_clusters
from datus2_ray.stages.heartbeat import Heartbeat
from datus2_ray.stages.parts import map_parts, run_stage

VERSION = 1


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
    stamp = fingerprint("label", VERSION, {}, [segments.fingerprint, model.require("clusters").fingerprint])

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        return map_parts(parts, LabelSegments(context.folder.path("segments"), read_clusters(model)))

    return run_stage(context, "label", "masks/initial", stamp, segments.parts, build)


@dataclass(frozen=True)
class LabelSegments:
    """CPU task: turns a part of ``segments/`` into its masks.

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
        """Label one part."""
        part = block["part"][0].as_py()
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "patch_map", "descriptors"]
        table = storage.read_table(storage.join(self.folder, part), columns)
        maps, descriptors = list_arrays(table["patch_map"]), list_arrays(table["descriptors"])
        rows = []
        for i, row in enumerate(table.drop_columns(["patch_map", "descriptors"]).to_pylist()):
            labels, distances = self.clusters.assign(np.asarray(descriptors[i]))
            patches = np.asarray(maps[i]).reshape(row["grid_height"], row["grid_width"])
            mask = paint(patches, labels, self.clusters.count)
            png = encode_labels(upsample_nearest(mask, row["height"], row["width"]))
            rows.append(
                {
                    "image_id": row["image_id"],
                    "mask": png,
                    "segment_clusters": labels.tolist(),
                    "segment_distances": distances.tolist(),
                }
            )
        masks = pa.Table.from_pylist(rows, schema=schemas.INITIAL_MASKS)
        return masks.append_column("part", pa.array([part] * len(masks), pa.string()))


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
