"""The scores of a run as tables: every set of masks beside the baseline, every class with its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Sets of masks in the order in which they are shown, and what the page calls them.
TITLES = {"initial": "initial masks", "refined": "refined masks", "token_kmeans": "token k-means (baseline)"}


#: Column of the score table: group, name, path in a set's scores, and what it means.
COLUMNS = (
    ("one-to-one", "mIoU", ("one_to_one", "miou")),
    ("one-to-one", "pixel acc.", ("one_to_one", "pixel_accuracy")),
    ("one-to-one", "class acc.", ("one_to_one", "mean_accuracy")),
    ("one-to-one", "F1", ("one_to_one", "mean_f1")),
    ("many-to-one", "mIoU", ("many_to_one", "miou")),
    ("many-to-one", "pixel acc.", ("many_to_one", "pixel_accuracy")),
    ("DatUS² rule", "mIoU", ("datus2", "miou")),
    ("DatUS² rule", "pixel acc.", ("datus2", "pixel_accuracy")),
    ("DatUS² rule", "coverage", ("datus2", "coverage")),
    ("clustering", "NMI", ("nmi",)),
    ("clustering", "ARI", ("ari",)),
)

EXPLANATIONS = (
    (
        "one-to-one",
        "Every class gets at most one cluster, by the matching that labels the most pixels correctly (Hungarian "
        "method, over all images at once). Pixels of clusters without a class, and noise, count as wrong. The "
        "strictest of the three rules.",
    ),
    (
        "many-to-one",
        "Every cluster goes to the class that it covers most. It uses the labels more, and rises with K by itself.",
    ),
    (
        "DatUS² rule",
        "As in the authors' code: noise is not scored, nor are clusters without a class where there are more clusters "
        "than classes. Read it together with its coverage.",
    ),
    ("coverage", "The share of ground-truth pixels that the DatUS² rule scores at all."),
    (
        "mIoU",
        "Intersection over union: pixels that are right, divided by pixels that are this class in the truth or in the "
        "mask; the mean over the classes that occur in the ground truth.",
    ),
    ("pixel acc.", "The share of ground-truth pixels that are right."),
    ("class acc.", "The share of a class's pixels that are right; the mean over its classes."),
    ("F1", "Harmonic mean of precision and recall of a class's pixels; the mean over the classes."),
    (
        "NMI, ARI",
        "How far clusters and classes divide the pixels alike, without any matching: 0 is chance, 100 the same "
        "division (normalised mutual information, adjusted Rand index; noise is one more cluster).",
    ),
    (
        "token k-means",
        "The baseline: plain spherical k-means on the patch tokens of the same forward pass, with the same scaling, "
        "K and seed, no graph and no segments. A method that does not beat it has gained nothing.",
    ),
)


@dataclass(frozen=True)
class ScoreRow:
    """A set of masks: its key, its title, and a score a column with whether it is the best of its column."""

    key: str
    title: str
    cells: list[tuple[float | None, bool]]


@dataclass(frozen=True)
class ClassRow:
    """A class: its name, and for every set of masks its IoU and the cluster that is matched to it."""

    name: str
    iou: list[float | None]
    clusters: list[int | None]


def sets_of(metrics: Mapping[str, Any]) -> list[str]:
    """Give the keys of the sets of masks that are scored, in the order in which they are shown."""
    return [key for key in TITLES if key in metrics]


def score_rows(metrics: Mapping[str, Any]) -> list[ScoreRow]:
    """Make the score table.

    Parameters
    ----------
    metrics : mapping
        What ``metrics.json`` holds.
    """
    keys = sets_of(metrics)
    columns = [[_lookup(metrics[key], path) for key in keys] for _, _, path in COLUMNS]
    rows = []
    for i, key in enumerate(keys):
        cells = []
        for (_, name, _), values in zip(COLUMNS, columns, strict=True):
            known = [value for value in values if value is not None]
            # Coverage is a condition, not an achievement.
            best = len(keys) > 1 and name != "coverage" and values[i] is not None and values[i] == max(known)
            cells.append((values[i], best))
        rows.append(ScoreRow(key, TITLES[key], cells))
    return rows


def other_rows(metrics: Mapping[str, Any], name: str) -> list[ScoreRow]:
    """Give the rows of another run's masks, none of them marked as best; the baseline is the same tokens' or its own.

    Parameters
    ----------
    metrics : mapping
        What its ``metrics.json`` holds.
    name : str
        What it is called: its preset.
    """
    rows = (row for row in score_rows(metrics) if row.key != "token_kmeans")
    return [ScoreRow(row.key, f"{name}: {row.title}", [(value, False) for value, _ in row.cells]) for row in rows]


def column_groups() -> list[tuple[str, int]]:
    """Give the groups of the score table's columns and how many columns each spans."""
    names = [group for group, _, _ in COLUMNS]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def class_rows(metrics: Mapping[str, Any]) -> list[ClassRow]:
    """Make the table of classes, under the one-to-one matching."""
    keys = sets_of(metrics)
    matchings = [metrics[key]["matching"] for key in keys]
    return [
        ClassRow(
            name,
            [metrics[key]["one_to_one"]["per_class_iou"][label] for key in keys],
            [matching.index(label) if label in matching else None for matching in matchings],
        )
        for label, name in enumerate(metrics["classes"])
    ]


def verdict(metrics: Mapping[str, Any]) -> str:
    """Say in a sentence what the run reached, and how that compares with its first step and with the baseline."""
    final = "refined" if "refined" in metrics else "initial"
    reached = metrics[final]["one_to_one"]["miou"]
    if reached is None:
        return "No pixel of the ground truth belongs to a class, so there is nothing to score."
    others = {"initial": "the initial masks", "token_kmeans": "plain k-means on patch tokens"}
    compared = [
        f"{_difference(reached - metrics[key]['one_to_one']['miou'])} {name}"
        for key, name in others.items()
        if key in metrics and key != final
    ]
    ending = f", {' and '.join(compared)}" if compared else ""
    return f"The {TITLES[final]} reach an mIoU of {100 * reached:.1f} % one-to-one{ending}."


def _difference(value: float) -> str:
    points = round(100 * value, 1)
    if points == 0:
        return "level with"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"


def _lookup(scores: Any, path: tuple[str, ...]) -> float | None:
    for name in path:
        scores = scores[name]
    return None if scores is None else float(scores)
