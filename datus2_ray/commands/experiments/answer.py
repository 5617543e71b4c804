"""An experiment's answer: a row per run as CSV, a row per variant as a table, and a chart of mean and deviation."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from datus2_ray.commands.experiments.conclusions import conclude
from datus2_ray.commands.experiments.run import Result
from datus2_ray.commands.experiments.spread import Spread
from datus2_ray.commands.experiments.variants import EXPERIMENTS
from datus2_ray.report.charts import Chart, Series, draw_chart
from datus2_ray.report.scores import SETS
from datus2_ray.store import storage

#: Scores of a row of the CSV: the column, and the path in the metrics of a set.
SCORES = {
    "miou": ("one_to_one", "miou"),
    "pixel_accuracy": ("one_to_one", "pixel_accuracy"),
    "many_to_one_miou": ("many_to_one", "miou"),
    "many_to_one_pixel_accuracy": ("many_to_one", "pixel_accuracy"),
}

#: What the table, the chart and the CSV compare: sets of masks, and the linear probe of an experiment that has one.
COMPARED = {**SETS, "probe": "linear probe"}


@dataclass(frozen=True)
class Row:
    """Mean and sample standard deviation over the seeds of a variant.

    Parameters
    ----------
    value : float or None
        Its x in the chart of a sweep.
    miou, pixel_accuracy : dict
        Set of masks → score in percent, noise counts as wrong; of a probe, at its own classes.
    segments, seconds : float
        Segments per image; seconds of discover per image.
    """

    variant: str
    value: float | None
    miou: dict[str, Spread]
    pixel_accuracy: dict[str, Spread]
    segments: float
    seconds: float | None


def rows(results: Sequence[Result], matching: str = "one_to_one") -> list[Row]:
    """Combine the seeds of every variant, in the order of the variants; `matching` says by which scores."""
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.variant.name, []).append(result)
    return [
        Row(
            variant=name,
            value=seeds[0].variant.value,
            miou=_over_seeds(seeds, matching, "miou"),
            pixel_accuracy=_over_seeds(seeds, matching, "pixel_accuracy"),
            segments=statistics.fmean(seed.segments_per_image for seed in seeds),
            seconds=_mean_seconds(seeds),
        )
        for name, seeds in grouped.items()
    ]


def _over_seeds(seeds: Sequence[Result], matching: str, score: str) -> dict[str, Spread]:
    spreads = {}
    for masks in COMPARED:
        values = [value for seed in seeds if (value := seed.score(masks, matching, score)) is not None]
        if values:
            spreads[masks] = Spread.of(values)
    return spreads


def _mean_seconds(seeds: Sequence[Result]) -> float | None:
    """Return the mean of the seeds whose time is known; killed attempts leave none."""
    known = [seed.seconds_per_image for seed in seeds if seed.seconds_per_image is not None]
    return statistics.fmean(known) if known else None


def write_answer(experiment: str, results: Sequence[Result], out: str) -> tuple[str, list[str]]:
    """Write ``EXPERIMENT.csv``, ``EXPERIMENT.md`` and ``EXPERIMENT.svg`` below `out`; return the table and the URIs."""
    variants = rows(results, EXPERIMENTS[experiment].matching)
    text = table(variants) + conclude(experiment, results).markdown()
    files = {"csv": _csv(results), "md": text, "svg": chart(experiment, variants).file()}
    uris = {suffix: storage.join(out, f"{experiment}.{suffix}") for suffix in files}
    for suffix, text in files.items():
        storage.write_bytes(uris[suffix], text.encode())
    return files["md"], list(uris.values())


def table(variants: Sequence[Row]) -> str:
    """Return a Markdown table, a row per variant: mIoU / pixel accuracy of every set of masks, in percent."""
    header, *lines = cells(variants)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, ["---", *["--:"] * (len(header) - 1)], *lines))


def cells(variants: Sequence[Row]) -> list[list[str]]:
    """Return the texts of the table, the header first."""
    compared = _compared(variants)
    header = ["variant", *(COMPARED[masks] for masks in compared), "segments per image"]
    lines = [[*header, "discover, s per image"]]
    for row in variants:
        scores = [f"{row.miou[masks]} / {row.pixel_accuracy[masks]}" if masks in row.miou else "" for masks in compared]
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        lines.append([row.variant, *scores, f"{row.segments:.1f}", seconds])
    return lines


def _compared(variants: Sequence[Row]) -> list[str]:
    return [masks for masks in COMPARED if any(masks in row.miou for row in variants)]


def chart(experiment: str, variants: Sequence[Row]) -> Chart:
    """Draw the mIoU: curves over the value of a sweep, or points per variant if they have no order."""
    sweep = all(row.value is not None for row in variants)
    compared = _compared(variants)
    series = []
    for number, masks in enumerate(compared):
        scored = [(i, row) for i, row in enumerate(variants) if masks in row.miou]
        means, deviations = (np.array([row.miou[masks][which] for _, row in scored]) for which in (0, 1))
        if sweep:
            x, y = np.array([row.value for _, row in scored]), means
        else:
            # The sets of a variant are drawn below each other.
            x, y = means, np.array([i + 0.22 * (number - (len(compared) - 1) / 2) for i, _ in scored])
        series.append(Series(COMPARED[masks], masks, x, y, dots=True, line=sweep, errors=deviations))
    caption = Spread.caption(spread for row in variants for spread in row.miou.values())
    score = f"mIoU {EXPERIMENTS[experiment].matching.replace('_', '-')} in %{caption}"
    labels = (EXPERIMENTS[experiment].label, score) if sweep else (score, "")
    names = () if sweep else [row.variant for row in variants]
    return draw_chart(experiment, *labels, series, whole_x=False, rows=names)


def _csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = [f"{masks}_{score}" for masks in SETS for score in SCORES] + ["probe_miou", "probe_pixel_accuracy"]
    writer.writerow(["variant", "value", "seed", "images", "segments_per_image", "seconds_per_image", *scores])
    for result in results:
        values = [result.score(masks, *path) for masks in SETS for path in SCORES.values()]
        values += [result.score("probe", "", score) for score in ("miou", "pixel_accuracy")]
        writer.writerow(
            [
                result.variant.name,
                "" if result.variant.value is None else f"{result.variant.value:g}",
                result.seed,
                result.summary["images"],
                f"{result.segments_per_image:.3f}",
                "" if result.seconds_per_image is None else f"{result.seconds_per_image:.4f}",
                *("" if value is None else f"{value:.3f}" for value in values),
            ]
        )
    return text.getvalue()
