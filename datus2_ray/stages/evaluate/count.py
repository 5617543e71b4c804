"""Count the pixels of every class and cluster, part after part, for any sets of masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.cluster.clusters import Clusters
from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.labels import decode_labels, paint, upsample_nearest
from datus2_ray.core.score.counting import confusion_matrix
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays, list_column

#: Parts read at a time when their counts are added: from an object store each is a round trip.
READ_THREADS = 16


def sum_counts(
    folder: str, parts: Sequence[str], sets: Sequence[str], classes: int, k: int
) -> tuple[dict[str, np.ndarray], int]:
    """Add the counts of all images.

    Returns
    -------
    dict of str to ndarray
        Confusion matrix of every set of masks, int64, shape (classes, k + 1).
    int
        Images that have ground truth.
    """
    totals = {name: np.zeros((classes, k + 1), dtype=np.int64) for name in sets}
    scored = 0
    with ThreadPoolExecutor(READ_THREADS) as threads:
        for table in threads.map(lambda part: parquet.read_table(storage.join(folder, part)), parts):
            scored += len(table) - table[sets[0]].null_count
            for name, total in totals.items():
                for cells in list_arrays(table[name]):
                    if cells is not None:
                        # No cell comes twice in an image.
                        total[cells[:, 0], cells[:, 1]] += cells[:, 2]
    return totals, scored


@dataclass(frozen=True)
class ScorePart:
    """CPU task: count the confusion matrices of the images of one part, one for each set of masks.

    `images` and `segments` are the URIs of the tables with the ground truth and with the tokens, `masks` those of the
    sets of masks by name, of which the first has every image; `tokens` is what the baselines assign tokens by. `codes`
    are the ids of the classes in the ground truth, or their colours if `by_colour`.
    """

    images: str
    segments: str
    masks: dict[str, str]
    tokens: dict[str, Clusters]
    codes: tuple[int, ...]
    by_colour: bool
    k: int
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score one part."""
        part = block["part"][0].as_py()
        truth = self._truth(part)
        sets = {name: self._masks(storage.join(uri, part)) for name, uri in self.masks.items()}
        sets |= self._token_masks(part) if self.tokens else {}
        image_ids = list(next(iter(sets.values())))
        columns: dict[str, Any] = {"image_id": image_ids}
        for name, predicted in sets.items():
            pairs = ((truth.get(image_id), predicted.get(image_id)) for image_id in self.heartbeat.through(image_ids))
            cells = [self._count(*pair) for pair in pairs]
            columns[name] = list_column(cells, schemas.CONFUSION_CELL)
        table = pa.table(columns, schema=schemas.confusion(list(sets)))
        return table.append_column("part", pa.array([part] * len(table), pa.string()))

    def _count(self, truth: np.ndarray | None, labels: Any) -> np.ndarray | None:
        """Return the cells of an image's matrix; none if this set lacks the image, None without ground truth."""
        if truth is None:
            return None
        if labels is None:
            return np.empty((0, 3), dtype=np.int64)
        counts = confusion_matrix(truth, _resolve(labels), len(self.codes), self.k)
        rows, columns = counts.nonzero()
        return np.column_stack([rows, columns, counts[rows, columns]])

    def _truth(self, part: str) -> dict[str, np.ndarray]:
        table = parquet.read_table(storage.join(self.images, part), ["image_id", "mask"])
        pairs = zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True)
        return {i: draw_classes(mask, self.codes, self.by_colour) for i, mask in pairs if mask is not None}

    def _masks(self, uri: str) -> dict[str, Any]:
        table = parquet.read_table(uri, ["image_id", "mask"])
        return dict(zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True))

    def _token_masks(self, part: str) -> dict[str, dict[str, np.ndarray]]:
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "tokens"]
        table = parquet.read_table(storage.join(self.segments, part), columns)
        tokens = list_arrays(table["tokens"])
        masks: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.tokens}
        for i, row in enumerate(table.drop_columns(["tokens"]).to_pylist()):
            patches = np.arange(row["grid_height"] * row["grid_width"]).reshape(row["grid_height"], row["grid_width"])
            for name, clusters in self.tokens.items():
                painted = paint(patches, clusters.assign(np.asarray(tokens[i]))[0], self.k)
                masks[name][row["image_id"]] = upsample_nearest(painted, row["height"], row["width"])
        return masks


def _resolve(labels: Any) -> np.ndarray:
    return decode_labels(labels) if isinstance(labels, bytes) else np.asarray(labels)
