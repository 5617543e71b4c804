"""Evaluate: masks + ground truth → ``metrics.json``: int64 confusion counts an image, summed, scored once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.images.labels import decode_labels, upsample_nearest
from datus2_ray.core.score.confusion import confusion_matrix, score
from datus2_ray.engine.clusters_table import read_baseline
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import map_parts, run_stage
from datus2_ray.stages.label.label import paint
from datus2_ray.store import schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.run_folder import Commit, fingerprint

VERSION = 2

#: Parts read at a time when their counts are added: from an object store each is a round trip.
READ_THREADS = 16


def evaluate(context: RunContext, class_names: list[str], clusters: int, masks: Mapping[str, Commit]) -> dict[str, Any]:
    """Score the masks of every image that has ground truth, and the baseline where it was fitted.

    Parameters
    ----------
    context : RunContext
        The run.
    class_names : list of str
        Names of the classes, in the order of their ids.
    clusters : int
        K.
    masks : mapping of str to Commit
        Name (``initial``, ``refined``) and commit of each set of masks; all are in the same parts.

    Returns
    -------
    dict
        What ``metrics.json`` holds.
    """
    folder = context.folder
    with_tokens = context.config.evaluate.token_kmeans
    inputs = [folder.require("images").fingerprint, *(commit.fingerprint for commit in masks.values())]
    if with_tokens:
        inputs += [folder.require(stage).fingerprint for stage in ("segments", "baseline")]
    identity = {"classes": class_names, "clusters": clusters, "seed": context.config.seed, "masks": list(masks)}
    stamp = fingerprint("evaluate", VERSION, identity, inputs)
    sets = [*masks, "token_kmeans"] if with_tokens else list(masks)
    parts = masks["initial"].parts

    def build(blocks: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        tables = {name: folder.path("masks", name) for name in masks}
        tokens = read_baseline(folder) if with_tokens else None
        images, segments = folder.path("images"), folder.path("segments")
        scorer = ScorePart(images, segments, tables, tokens, len(class_names), clusters, heartbeat)
        return map_parts(blocks, scorer)

    def facts() -> dict[str, Any]:
        totals, scored = sum_counts(folder.path("evaluate"), sorted(parts), sets, len(class_names), clusters)
        metrics = {"classes": class_names, "clusters": clusters, "seed": context.config.seed, "images": scored}
        metrics |= {name: score(total) for name, total in totals.items()}
        storage.write_json(folder.path("metrics.json"), metrics)
        return metrics

    return run_stage(context, "evaluate", "evaluate", stamp, parts, build, facts=facts).facts


def sum_counts(
    folder: str, parts: list[str], sets: list[str], classes: int, clusters: int
) -> tuple[dict[str, np.ndarray], int]:
    """Add the counts of all images.

    Parameters
    ----------
    folder : str
        URI of ``evaluate/``.
    parts : list of str
        Names of its parts.
    sets : list of str
        Names of the sets of masks.
    classes, clusters : int
        C and K.

    Returns
    -------
    dict of str to ndarray
        Confusion matrix of every set of masks, int64, shape (C, K + 1).
    int
        Images that have ground truth.
    """
    totals = {name: np.zeros((classes, clusters + 1), dtype=np.int64) for name in sets}
    scored = 0
    with ThreadPoolExecutor(READ_THREADS) as threads:
        for table in threads.map(lambda part: storage.read_table(storage.join(folder, part)), parts):
            scored += len(table) - table["initial"].null_count
            for name, total in totals.items():
                for cells in list_arrays(table[name]):
                    if cells is not None:
                        # No cell comes twice in an image.
                        total[cells[:, 0], cells[:, 1]] += cells[:, 2]
    return totals, scored


@dataclass(frozen=True)
class ScorePart:
    """CPU task: counts the confusion matrices of the images of one part, one for each set of masks.

    Parameters
    ----------
    images, segments : str
        URIs of the tables with the ground truth and with the tokens.
    masks : dict of str to str
        Name and URI of every set of masks.
    tokens : Clusters or None
        What the baseline assigns tokens by.
    classes, clusters : int
        C and K.
    heartbeat : Heartbeat
        Told as the images are scored.
    """

    images: str
    segments: str
    masks: dict[str, str]
    tokens: Clusters | None
    classes: int
    clusters: int
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score one part."""
        part = block["part"][0].as_py()
        truth = self._truth(part)
        sets = {name: self._masks(storage.join(uri, part)) for name, uri in self.masks.items()}
        if self.tokens is not None:
            sets["token_kmeans"] = self._token_masks(part, self.tokens)
        image_ids = list(sets["initial"])
        columns: dict[str, Any] = {"image_id": image_ids}
        for name, predicted in sets.items():
            pairs = ((truth.get(image_id), predicted.get(image_id)) for image_id in self.heartbeat.through(image_ids))
            cells = [self._count(*pair) for pair in pairs]
            columns[name] = list_column(cells, schemas.CONFUSION_CELL)
        table = pa.table(columns, schema=schemas.confusion(list(sets)))
        return table.append_column("part", pa.array([part] * len(table), pa.string()))

    def _count(self, truth: np.ndarray | None, labels: Any) -> np.ndarray | None:
        """Give the cells of an image's matrix; none where this set of masks lacks it, None without ground truth."""
        if truth is None:
            return None
        if labels is None:
            return np.empty((0, 3), dtype=np.int64)
        counts = confusion_matrix(truth, _resolve(labels), self.classes, self.clusters)
        rows, columns = counts.nonzero()
        return np.column_stack([rows, columns, counts[rows, columns]])

    def _truth(self, part: str) -> dict[str, np.ndarray]:
        table = storage.read_table(storage.join(self.images, part), ["image_id", "mask"])
        pairs = zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True)
        return {image_id: decode_labels(mask) for image_id, mask in pairs if mask is not None}

    def _masks(self, uri: str) -> dict[str, Any]:
        table = storage.read_table(uri, ["image_id", "mask"])
        return dict(zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True))

    def _token_masks(self, part: str, clusters: Clusters) -> dict[str, np.ndarray]:
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "tokens"]
        table = storage.read_table(storage.join(self.segments, part), columns)
        tokens = list_arrays(table["tokens"])
        masks = {}
        for i, row in enumerate(table.drop_columns(["tokens"]).to_pylist()):
            labels, _ = clusters.assign(np.asarray(tokens[i]))
            patches = np.arange(len(labels)).reshape(row["grid_height"], row["grid_width"])
            masks[row["image_id"]] = upsample_nearest(
                paint(patches, labels, self.clusters), row["height"], row["width"]
            )
        return masks


def _resolve(labels: Any) -> np.ndarray:
    return decode_labels(labels) if isinstance(labels, bytes) else np.asarray(labels)
