"""Predict: images + segmenter → ``masks/refined/``; the segmenter in an actor pool, the codecs in CPU tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from datus2_ray.core.images.labels import Labels, encode_labels
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Cluster, choose_device
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.engine.pools import plan_pool
from datus2_ray.engine.read_images import ReadImages
from datus2_ray.errors import UsageError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, RunFolder, fingerprint

VERSION = 1

FOLDER = "masks/refined"


def predict(context: RunContext, images: Commit, refinement: Commit) -> Commit:
    """Write the refined masks of a run: of every image that has an initial one.

    Parameters
    ----------
    context : RunContext
        The run.
    images, refinement : Commit
        What ingest and refine committed.

    Returns
    -------
    Commit
        Of ``masks/refined/``.
    """
    initial = context.folder.require("masks/initial")
    segmenter = segmenter_uri(context.folder, refinement)
    inputs = [images.fingerprint, initial.fingerprint, refinement.fingerprint]
    size = int(refinement.facts["size"])
    return predict_images(context, segmenter, size, initial.parts, inputs, context.folder.path("masks/initial"))


def segmenter_uri(folder: RunFolder, refinement: Commit) -> str:
    """Give the URI of the segmenter that a run's refinement kept.

    Raises
    ------
    UsageError
        The refinement was skipped.
    """
    if "skipped" in refinement.facts:
        raise UsageError(f"{folder.uri} has no segmenter, its refinement was skipped: {refinement.facts['skipped']}")
    return folder.path("refine", refinement.facts["checkpoint"])


def predict_images(
    context: RunContext,
    segmenter: str,
    size: int,
    parts: Mapping[str, int],
    inputs: list[str],
    chosen: str | None = None,
) -> Commit:
    """Write the masks that a segmenter, of this run or of another, gives to the images of a run folder.

    Parameters
    ----------
    context : RunContext
        Where ``images/`` lies and ``masks/refined/`` goes.
    segmenter : str
        URI of the segmenter's file.
    size : int
        Side of the square images that it was trained on, in pixels.
    parts : mapping of str to int
        Names of the parts and how many masks each is to give.
    inputs : list of str
        Fingerprints of what the result depends on: images and segmenter.
    chosen : str, optional
        URI of a table in the same parts; only the images that are in it get a mask. Default all images.

    Returns
    -------
    Commit
        Of ``masks/refined/``.
    """
    mirror = context.config.refine.mirror
    stamp = fingerprint("predict", VERSION, {"size": size, "mirror": mirror}, inputs)

    # Imported here: the tasks that import this module only decode and encode, and have no need of torch.
    from datus2_ray.stages.predict.segment_images import SegmentImages
    from datus2_ray.stages.refine.start import backbone_of

    backbone = backbone_of(context.config)

    def build(blocks: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        cluster = Cluster.now()
        device = choose_device(cluster, context.config.device)
        pool = plan_pool(cluster, device, context.config.discover, pools=1, parts=len(parts))
        blocks = map_parts(blocks, ReadChosen(ReadImages(ImagesTable.of(context.folder), size, heartbeat), chosen))
        blocks = map_parts(blocks, SegmentImages, pool, segmenter, backbone, pool.device, heartbeat, mirror)
        return map_parts(blocks, encode_masks)

    return run_stage(context, "predict", FOLDER, stamp, parts, build)


@dataclass(frozen=True)
class ReadChosen:
    """CPU task: reads the images of a part, and only those that another table's part holds.

    Parameters
    ----------
    read : ReadImages
        Reads and decodes them.
    table : str, optional
        URI of that table; None keeps them all.
    """

    read: ReadImages
    table: str | None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        rows = self.read(block)
        if self.table is None:
            return rows
        kept = storage.read_table(storage.join(self.table, rows["part"][0].as_py()), ["image_id"])
        return rows.filter(pc.is_in(rows["image_id"], value_set=kept["image_id"].combine_chunks()))


def encode_masks(block: pa.Table) -> pa.Table:
    """CPU task: labels become PNG files, and the block gets the columns of ``masks/refined/``."""
    rows = block.select(["labels", "height", "width"]).to_pylist()
    masks = [None if row["labels"] is None else encode_labels(_label_map(**row)) for row in rows]
    block = block.drop_columns(["labels", "height", "width"])
    return block.append_column("mask", pa.array(masks, schemas.MASKS.field("mask").type))


def _label_map(labels: bytes, height: int, width: int) -> Labels:
    if len(labels) == height * width:
        return np.frombuffer(labels, np.uint8).reshape(height, width)
    return np.frombuffer(labels, np.uint16).reshape(height, width)
