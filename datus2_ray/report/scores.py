"""The scores of a run as tables: every set of masks and the baselines, every class and its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Sets of masks in the order of every table, and their short titles.
SETS = {
    "initial": "initial",
    "refined": "refined",
    "token_kmeans": "token k-means",
    "token_kmeans_merged": "token k-means merged",
}

#: Sets of masks of classes, as clusters are named.
NAMED_SETS = ("named", "taught")

#: Their titles in the report.
TITLES = {
    "initial": "initial masks",
    "refined": "refined masks",
    "token_kmeans": "token k-means (baseline)",
    "token_kmeans_merged": "token k-means, merged (baseline)",
}

#: Those that are not masks of the run.
BASELINES = ("token_kmeans", "token_kmeans_merged")

#: Columns of the score table: group, name, and path in the scores of a set.
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


@dataclass(frozen=True)
class ScoreRow:
    """A set of masks; each cell is a score and whether it is the best of its column."""

    key: str
    title: str
    cells: list[tuple[float | None, bool]]


@dataclass(frozen=True)
class ClassRow:
    """A class, with its IoU and its matched cluster per set of masks."""

    name: str
    iou: list[float | None]
    clusters: list[int | None]


def sets_of(metrics: Mapping[str, Any]) -> list[str]:
    """Return the keys of the scored sets of masks, in the order of the page."""
    return [key for key in TITLES if key in metrics]


def score_rows(metrics: Mapping[str, Any]) -> list[ScoreRow]:
    """Return the score table."""
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
    """Return the rows of another run's masks, without best cells and without its baselines."""
    rows = (row for row in score_rows(metrics) if row.key not in BASELINES)
    return [ScoreRow(row.key, f"{name}: {row.title}", [(value, False) for value, _ in row.cells]) for row in rows]


def column_groups() -> list[tuple[str, int]]:
    """Return the groups of the score table's columns, and how many columns each spans."""
    names = [group for group, _, _ in COLUMNS]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def class_rows(metrics: Mapping[str, Any]) -> list[ClassRow]:
    """Return the table of classes, under the one-to-one matching."""
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
    """Return a sentence on the final masks, compared with the initial ones and with the baselines."""
    final = "refined" if "refined" in metrics else "initial"
    reached = metrics[final]["one_to_one"]["miou"]
    if reached is None:
        return "No pixel of the ground truth belongs to a class, so there is nothing to score."
    others = {
        "initial": "the initial masks",
        "token_kmeans": "plain k-means on patch tokens",
        "token_kmeans_merged": "merged k-means on patch tokens",
    }
    compared = [
        f"{_difference(reached - metrics[key]['one_to_one']['miou'])} {name}"
        for key, name in others.items()
        if key in metrics and key != final
    ]
    joined = " and ".join([", ".join(compared[:-1]), compared[-1]] if len(compared) > 1 else compared)
    ending = f", {joined}" if joined else ""
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
