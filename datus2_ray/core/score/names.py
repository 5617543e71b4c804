"""Scores of masks of classes: a class that a person named counts as the one of the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.score.confusion import Matching, class_scores, many_to_one_matching


def match_names(truth: Sequence[str], named: Sequence[str], confusion: NDArray[np.int64]) -> tuple[Matching, int]:
    """Match every named class with a class of the ground truth, and count those that were matched by their name.

    A class whose name the ground truth does not have, in any case, is matched with the class that most of its pixels
    have.

    Parameters
    ----------
    truth, named : sequence of str
        Names of C and N classes.
    confusion : int64 [C, N + 1]
        Pixels per class of the ground truth and named class; the last column counts pixels without a class.
    """
    ids = {name.casefold(): number for number, name in enumerate(truth)}
    by_name: Matching = [ids.get(name.casefold()) for name in named]
    frequent = many_to_one_matching(confusion)
    matching = [own if own is not None else found for own, found in zip(by_name, frequent, strict=True)]
    return matching, len(named) - by_name.count(None)


def score_names(
    confusions: Mapping[str, NDArray[np.int64]], truth: Sequence[str], named: Sequence[str]
) -> dict[str, Any]:
    """Score sets of masks of classes from the sums of their images' confusion matrices, int64 [C, N + 1].

    Returns
    -------
    dict
        By set: the scores of :func:`~datus2_ray.core.score.confusion.class_scores`, in which pixels without a class are
        wrong; ``coverage``, the share of the pixels that have one; ``matching``, the class of the ground truth of every
        named class; and ``by_name``, how many were matched by their name.
    """
    scores: dict[str, Any] = {}
    for name, confusion in confusions.items():
        matching, by_name = match_names(truth, named, confusion)
        total = int(confusion.sum())
        coverage = int(confusion[:, :-1].sum()) / total if total else None
        scores[name] = {
            **class_scores(confusion, matching),
            "coverage": coverage,
            "matching": matching,
            "by_name": by_name,
        }
    return scores
