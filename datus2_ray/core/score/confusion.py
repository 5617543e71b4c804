"""Scores of cluster maps against class maps, all from one confusion matrix that can be added over images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from datus2_ray.core.score.partitions import adjusted_rand_index, normalized_mutual_information

Matching = list[int | None]


def one_to_one_matching(confusion: NDArray[np.int64]) -> Matching:
    """Match clusters and classes in pairs so that the most pixels are labelled correctly.

    Returns the class of every cluster [K]; None for one without a partner or without a pixel in common with it.

    References
    ----------
    Kuhn, "The Hungarian method for the assignment problem", 1955.
    """
    matching: Matching = [None] * (confusion.shape[1] - 1)
    for label, cluster in zip(*linear_sum_assignment(confusion[:, :-1], maximize=True), strict=True):
        if confusion[label, cluster]:
            matching[cluster] = int(label)
    return matching


def many_to_one_matching(confusion: NDArray[np.int64]) -> Matching:
    """Match every cluster with its most frequent class, of equals the lowest id; None for a cluster without pixels."""
    counts = confusion[:, :-1]
    return [
        int(label) if total else None for label, total in zip(counts.argmax(axis=0), counts.sum(axis=0), strict=True)
    ]


def class_scores(
    confusion: NDArray[np.int64], matching: Matching, dropped: NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """Score a matching; pixels of noise and of clusters without a class are wrong.

    Parameters
    ----------
    confusion : int64 [C, K + 1]
    matching : list of int or None [K]
        The class of every cluster.
    dropped : bool [K + 1], optional
        Columns whose pixels are not scored.

    Returns
    -------
    dict
        ``miou``, ``pixel_accuracy``, ``mean_accuracy``, ``mean_f1`` and ``per_class_iou`` [C], in [0, 1]. Means are
        over the classes of the ground truth (one without scored pixels counts 0); the IoU of other classes is None.
        All are None if no pixel is scored.
    """
    present = confusion.sum(axis=1) > 0
    scored = confusion if dropped is None else np.where(dropped, 0, confusion)
    true_pixels = scored.sum(axis=1)
    predicted_pixels = np.zeros_like(true_pixels)
    correct = np.zeros_like(true_pixels)
    for cluster, label in enumerate(matching):
        if label is not None:
            predicted_pixels[label] += scored[:, cluster].sum()
            correct[label] += scored[label, cluster]
    if not true_pixels.any():
        per_class: list[float | None] = [None] * len(present)
        means = dict.fromkeys(("miou", "pixel_accuracy", "mean_accuracy", "mean_f1"))
        return {**means, "per_class_iou": per_class}

    def ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = above[present] / np.maximum(below[present], 1)
        return shares

    iou = ratio(correct, true_pixels + predicted_pixels - correct)
    values = iter(iou.tolist())
    return {
        "miou": float(iou.mean()),
        "pixel_accuracy": float(correct.sum() / true_pixels.sum()),
        "mean_accuracy": float(ratio(correct, true_pixels).mean()),
        "mean_f1": float(ratio(2 * correct, true_pixels + predicted_pixels).mean()),
        "per_class_iou": [next(values) if is_present else None for is_present in present],
    }


def score(confusion: NDArray[np.int64]) -> dict[str, Any]:
    """Compute all scores of one set of masks from the sum of its images' :func:`confusion_matrix`.

    Returns
    -------
    dict
        Of plain floats, lists and None; the scores of a matching are those of :func:`class_scores`.

        - ``one_to_one``: Hungarian matching; pixels of unmatched clusters and of noise are wrong.
        - ``many_to_one``: every cluster to its most frequent class; noise is wrong. Rises with K.
        - ``datus2``: as the DatUS² code scores, with the matching of ``one_to_one``: noise is not scored, nor, with
          K > C, are pixels of unmatched clusters; ``coverage`` is the share of ground-truth pixels that are.
        - ``nmi`` (arithmetic mean), ``ari``: noise is one more cluster.
        - ``matching``: the class of every cluster in ``one_to_one``, or None.
    """
    classes, clusters = confusion.shape[0], confusion.shape[1] - 1
    matching = one_to_one_matching(confusion)
    dropped = np.array([clusters > classes and label is None for label in matching] + [True])
    total = int(confusion.sum())
    coverage = int(confusion[:, ~dropped].sum()) / total if total else None
    return {
        "one_to_one": class_scores(confusion, matching),
        "many_to_one": class_scores(confusion, many_to_one_matching(confusion)),
        "datus2": {**class_scores(confusion, matching, dropped), "coverage": coverage},
        "nmi": normalized_mutual_information(confusion) if total else None,
        "ari": adjusted_rand_index(confusion) if total else None,
        "matching": matching,
    }
