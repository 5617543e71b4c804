"""The answer of `experiment backbones`: a row per run and set of masks as CSV, a table, and a chart."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from datus2_ray.commands.experiments.backbones import PAPER, BackboneVariant
from datus2_ray.commands.experiments.run import Result
from datus2_ray.commands.experiments.spread import Spread
from datus2_ray.report.charts import Series, draw_chart
from datus2_ray.report.scores import SETS
from datus2_ray.store import storage

#: Columns of scores: name, and path in the metrics of a set of masks; `rule` is that of the table's part.
SHOWN = (("mIoU", "miou"), ("acc.", "pixel_accuracy"), ("F1", "mean_f1"))

#: Scores of a row of the CSV, by column.
SCORES = {
    **{f"{rule}_{score}": (rule, score) for rule in ("one_to_one", "many_to_one", "datus2") for _, score in SHOWN},
    "datus2_coverage": ("datus2", "coverage"),
    "nmi": ("nmi",),
    "ari": ("ari",),
}


@dataclass(frozen=True)
class Compared:
    """A row of the table: a set of masks of a backbone, with all its seeds, at K = classes and at more.

    Parameters
    ----------
    preset : str
        What made the masks: a preset, or ``token k-means``.
    masks : str
        Their name in the metrics.
    equal, over : list of Result
        Runs with as many clusters as classes, and with more.
    """

    backbone: str
    preset: str
    masks: str
    equal: list[Result]
    over: list[Result]

    @property
    def baseline(self) -> bool:
        """Whether they are of tokens, not of segments."""
        return self.masks == "token_kmeans"

    def score(self, results: Sequence[Result], *path: str) -> Spread | None:
        """Return a score over the seeds, in percent; None where a seed has none."""
        found = [_lookup(result, self.masks, path) for result in results]
        values = [100 * value for value in found if value is not None]
        if not values or len(values) < len(found):
            return None
        return Spread.of(values)


def compare(results: Sequence[Result]) -> list[Compared]:
    """Return the rows of the table: of every backbone k-means on tokens, then the presets, `paper` first."""
    groups: dict[tuple[str, str], tuple[list[Result], list[Result]]] = {}
    for result in results:
        variant = _variant(result)
        pair = groups.setdefault((variant.backbone, variant.preset), ([], []))
        pair[variant.over].append(result)
    rows: list[Compared] = []
    for backbone in dict.fromkeys(name for name, _ in groups):
        made = [(preset, *runs) for (name, preset), runs in groups.items() if name == backbone]
        made.sort(key=lambda runs: runs[0] != PAPER)
        rows += [
            Compared(backbone, "token k-means", "token_kmeans", equal, over)
            for _, equal, over in made
            if _has(equal, "token_kmeans")
        ]
        rows += [
            Compared(backbone, preset, "refined" if _has(equal, "refined") else "initial", equal, over)
            for preset, equal, over in made
        ]
    return rows


def write_backbones(results: Sequence[Result], out: str) -> tuple[str, list[str]]:
    """Write ``backbones.csv``, ``backbones.md`` and ``backbones.svg`` below `out`; return the table and the URIs."""
    rows = compare(results)
    files = {"csv": _csv(results), "md": table(rows), "svg": chart(rows)}
    uris = {suffix: storage.join(out, f"backbones.{suffix}") for suffix in files}
    for suffix, text in files.items():
        storage.write_bytes(uris[suffix], text.encode())
    return files["md"], list(uris.values())


def table(rows: Sequence[Compared]) -> str:
    """Return the Markdown table: scores in percent, at K = classes one-to-one and beyond many-to-one, and the cost."""
    k, more = _clusters([row.equal for row in rows]), _clusters([row.over for row in rows])
    scores = [name for name, _ in (*SHOWN, ("NMI", ""))]
    header = [f"{name}, K = {k}" for name in scores] + [f"{name}, K = {more} n:1" for name in scores]
    cost = ["coverage", "segments found / valid per image", "discover, s per image", "actor, GB"]
    lines = [["backbone", "masks", *header, *cost], ["---", "---", *["--:"] * (len(header) + len(cost))]]
    for row in rows:
        cells = [_text(row.score(row.equal, "one_to_one", score)) for _, score in SHOWN]
        cells += [_text(row.score(row.equal, "nmi"))]
        cells += [_text(row.score(row.over, "many_to_one", score)) for _, score in SHOWN]
        cells += [_text(row.score(row.over, "nmi"))]
        coverage = row.score(row.equal, "datus2", "coverage")
        cells += ["" if coverage is None else f"{coverage.mean:.0f}"]
        cells += ["", "", ""] if row.baseline else [_segments(row.equal), *_cost(row.equal)]
        lines.append([row.backbone, row.preset, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def chart(rows: Sequence[Compared]) -> str:
    """Return an SVG file of the one-to-one mIoU at K = classes: a row per backbone, with points per preset."""
    backbones, kinds = (
        list(dict.fromkeys(values)) for values in zip(*((r.backbone, r.preset) for r in rows), strict=True)
    )
    series = []
    for number, kind in enumerate(kinds):
        scored = [
            (row, score) for row in rows if row.preset == kind and (score := row.score(row.equal, "one_to_one", "miou"))
        ]
        below = 0.22 * (number - (len(kinds) - 1) / 2)
        y = np.array([backbones.index(row.backbone) + below for row, _ in scored])
        means, deviations = (np.array([score[which] for _, score in scored]) for which in (0, 1))
        style = "token_kmeans" if kind == "token k-means" else "initial" if kind == PAPER else "refined"
        series.append(Series(kind, style, means, y, dots=True, line=False, errors=deviations))
    spreads = [score for row in rows if (score := row.score(row.equal, "one_to_one", "miou"))]
    label = f"mIoU one-to-one in %, K = {_clusters([row.equal for row in rows])}{Spread.caption(spreads)}"
    return draw_chart("backbones", label, "", series, whole_x=False, rows=backbones).file()


def _csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    run: dict[str, Callable[[Result], Any]] = {
        "backbone": lambda result: _variant(result).backbone,
        "preset": lambda result: _variant(result).preset,
        "clusters": lambda result: result.summary["clusters"],
        "seed": lambda result: result.seed,
        "images": lambda result: result.summary["images"],
        "protocol": lambda result: result.summary["metrics"].get("protocol", "datus2"),
        "segments_found": lambda result: result.summary["segments_found"],
        "segments_valid": lambda result: result.summary["segments"],
        "seconds_per_image": lambda result: _known(result.seconds_per_image, ".4f"),
        "actor_bytes": lambda result: _known(_memory(result), ""),
    }
    writer.writerow([*run, "masks", *SCORES])
    for result in results:
        for masks in SETS:
            if masks in result.summary["metrics"]:
                scores = [_lookup(result, masks, path) for path in SCORES.values()]
                writer.writerow(
                    [*(of(result) for of in run.values()), masks, *(_known(value, ".5f") for value in scores)]
                )
    return text.getvalue()


def _clusters(groups: Sequence[Sequence[Result]]) -> str:
    """Return the number of clusters of runs that have the same; a dash where all were left out."""
    return next((str(runs[0].summary["clusters"]) for runs in groups if runs), "–")


def _variant(result: Result) -> BackboneVariant:
    return cast("BackboneVariant", result.variant)


def _has(results: Sequence[Result], masks: str) -> bool:
    return bool(results) and masks in results[0].summary["metrics"]


def _lookup(result: Result, masks: str, path: Sequence[str]) -> float | None:
    scores = result.summary["metrics"][masks]
    for name in path:
        scores = scores[name]
    return None if scores is None else float(scores)


def _memory(result: Result) -> int | None:
    return cast("int | None", result.summary["memory"].get("discover"))


def _segments(results: Sequence[Result]) -> str:
    if not results:
        return ""
    found, valid = (
        statistics.fmean(result.summary[name] / result.summary["images"] for result in results)
        for name in ("segments_found", "segments")
    )
    return f"{found:.1f} / {valid:.1f}"


def _cost(results: Sequence[Result]) -> list[str]:
    """Return the seconds per image of discover, and the memory of its largest actor; killed attempts leave neither."""
    seconds = [result.seconds_per_image for result in results if result.seconds_per_image is not None]
    memory = [found for result in results if (found := _memory(result)) is not None]
    return [_known(statistics.fmean(seconds) if seconds else None, ".3f"), f"{max(memory) / 1e9:.2f}" if memory else ""]


def _known(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _text(score: Spread | None) -> str:
    return "" if score is None else str(score)
