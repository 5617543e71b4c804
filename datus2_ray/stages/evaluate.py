"""Evaluate: masks + ground truth → ``metrics.json``: int64 confusion counts a part, summed, scored once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray import storage
from datus2_ray.columns import list_arrays
from datus2_ray.context import RunContext
from datus2_ray.core.kmeans import assign
from datus2_ray.core.masks import decode_labels, upsample_nearest
from datus2_ray.core.scoring import confusion_matrix, score
from datus2_ray.progress import Progress
from datus2_ray.run_folder import Commit, fingerprint
from datus2_ray.stages.baseline import read_baseline
from datus2_ray.stages.label import paint
from datus2_ray.stages.once import run_once
from datus2_ray.stages.parts import map_parts, stream_parts

VERSION = 1


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

    def work(progress: Progress) -> dict[str, Any]:
        tables = {name: folder.path("masks", name) for name in masks}
        tokens = read_baseline(folder) if with_tokens else None
        scorer = ScorePart(folder.path("images"), folder.path("segments"), tables, tokens, len(class_names), clusters)
        parts = masks["initial"].parts
        progress.total = sum(parts.values())
        totals: dict[str, np.ndarray] = {}
        scored = 0
        for row in stream_parts([{"part": part} for part in parts], lambda source, _: map_parts(source, scorer)):
            for name in row["names"]:
                counts = np.array(row[name], dtype=np.int64).reshape(len(class_names), clusters + 1)
                totals[name] = totals.get(name, 0) + counts
            scored += row["scored"]
            progress.advance(row["images"])
        metrics = {"classes": class_names, "clusters": clusters, "seed": context.config.seed, "images": scored}
        metrics |= {name: score(total) for name, total in totals.items()}
        storage.write_json(folder.path("metrics.json"), metrics)
        return metrics

    facts: dict[str, Any] = run_once(context, "evaluate", "evaluate", stamp, "images", work).facts
    return facts


@dataclass(frozen=True)
class ScorePart:
    """CPU task: counts the confusion matrices of one part, one for each set of masks.

    Parameters
    ----------
    images, segments : str
        URIs of the tables with the ground truth and with the tokens.
    masks : dict of str to str
        Name and URI of every set of masks.
    token_centroids : ndarray or None
        The baseline's centroids, shape (K, D).
    classes, clusters : int
        C and K.
    """

    images: str
    segments: str
    masks: dict[str, str]
    token_centroids: np.ndarray | None
    classes: int
    clusters: int

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score one part."""
        part = block["part"][0].as_py()
        truth = self._truth(part)
        sets = {name: self._masks(storage.join(uri, part)) for name, uri in self.masks.items()}
        if self.token_centroids is not None:
            sets["token_kmeans"] = self._token_masks(part)
        row: dict[str, Any] = {"part": part, "names": list(sets), "images": len(sets["initial"])}
        row["scored"] = sum(image_id in truth for image_id in sets["initial"])
        for name, predicted in sets.items():
            counts = np.zeros((self.classes, self.clusters + 1), dtype=np.int64)
            for image_id, labels in predicted.items():
                if image_id in truth:
                    counts += confusion_matrix(truth[image_id], _resolve(labels), self.classes, self.clusters)
            row[name] = counts.ravel().tolist()
        return pa.Table.from_pylist([row])

    def _truth(self, part: str) -> dict[str, np.ndarray]:
        table = storage.read_table(storage.join(self.images, part), ["image_id", "mask"])
        pairs = zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True)
        return {image_id: decode_labels(mask) for image_id, mask in pairs if mask is not None}

    def _masks(self, uri: str) -> dict[str, Any]:
        table = storage.read_table(uri, ["image_id", "mask"])
        return dict(zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True))

    def _token_masks(self, part: str) -> dict[str, np.ndarray]:
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "tokens"]
        table = storage.read_table(storage.join(self.segments, part), columns)
        tokens = list_arrays(table["tokens"])
        masks = {}
        for i, row in enumerate(table.drop_columns(["tokens"]).to_pylist()):
            labels, _ = assign(np.asarray(tokens[i]), np.asarray(self.token_centroids), "spherical")
            patches = np.arange(len(labels)).reshape(row["grid_height"], row["grid_width"])
            masks[row["image_id"]] = upsample_nearest(
                paint(patches, labels, self.clusters), row["height"], row["width"]
            )
        return masks


def _resolve(labels: Any) -> np.ndarray:
    return decode_labels(labels) if isinstance(labels, bytes) else np.asarray(labels)
