"""An experiment's answer: a row a run as CSV, a row a variant as a table, and a plot of mean and deviation."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from datus2_ray.commands.experiment import Result
from datus2_ray.commands.experiment_variants import EXPERIMENTS
from datus2_ray.store import storage

#: Sets of masks in the order of the table's columns, and what they are called.
SETS = {"initial": "initial", "refined": "refined", "token_kmeans": "token k-means"}

#: Scores of a row of the CSV: the column, and where the metrics have it.
SCORES = {
    "miou": ("one_to_one", "miou"),
    "pixel_accuracy": ("one_to_one", "pixel_accuracy"),
    "many_to_one_miou": ("many_to_one", "miou"),
}


@dataclass(frozen=True)
class Row:
    """Mean and sample standard deviation over the seeds of a variant.

    Parameters
    ----------
    variant : str
        Its name.
    value : float or None
        Its place on the axis of a sweep.
    miou, pixel_accuracy : dict
        Name of a set of masks → mean and deviation in percent, one-to-one, noise counted wrong.
    segments, seconds : float
        Segments per image, and seconds that discover takes for one; None where no seed knows them.
    """

    variant: str
    value: float | None
    miou: dict[str, tuple[float, float]]
    pixel_accuracy: dict[str, tuple[float, float]]
    segments: float
    seconds: float | None


def rows(results: Sequence[Result]) -> list[Row]:
    """Put the seeds of every variant together, in the order of the variants."""
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.variant.name, []).append(result)
    found = []
    for name, seeds in grouped.items():
        scores: dict[str, dict[str, tuple[float, float]]] = {"miou": {}, "pixel_accuracy": {}}
        for score, of_sets in scores.items():
            for masks in SETS:
                values = [_score(seed, masks, score) for seed in seeds]
                numbers = [value for value in values if value is not None]
                if numbers:
                    of_sets[masks] = (statistics.fmean(numbers), statistics.stdev(numbers) if numbers[1:] else 0.0)
        segments = statistics.fmean(seed.segments_per_image for seed in seeds)
        known = [seed.seconds_per_image for seed in seeds if seed.seconds_per_image is not None]
        mean_seconds = statistics.fmean(known) if known else None
        found.append(Row(name, seeds[0].variant.value, **scores, segments=segments, seconds=mean_seconds))
    return found


def write_answer(experiment: str, results: Sequence[Result], out: str) -> list[str]:
    """Write ``EXPERIMENT.csv``, ``EXPERIMENT.md`` and ``EXPERIMENT.svg``.

    Parameters
    ----------
    experiment : str
        Its name.
    results : sequence of Result
        Of all runs.
    out : str
        URI of the experiment's folder.

    Returns
    -------
    list of str
        Their URIs, in that order.
    """
    found = rows(results)
    answer = {"csv": _csv(results), "md": table(found), "svg": plot(experiment, found)}
    uris = []
    for suffix, text in answer.items():
        uris.append(storage.join(out, f"{experiment}.{suffix}"))
        storage.write_bytes(uris[-1], text.encode())
    return uris


def table(found: Sequence[Row]) -> str:
    """Lay the rows out as a Markdown table."""
    sets = [masks for masks in SETS if any(masks in row.miou for row in found)]
    header = ["variant", *(f"{SETS[masks]} mIoU" for masks in sets), "initial accuracy", "segments an image"]
    lines = [[*header, "discover, s an image"], ["---", *["--:"] * (len(sets) + 3)]]
    for row in found:
        scores = [_pair(row.miou.get(masks)) for masks in sets]
        accuracy = _pair(row.pixel_accuracy.get("initial"))
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        lines.append([row.variant, *scores, accuracy, f"{row.segments:.1f}", seconds])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plot(experiment: str, found: Sequence[Row]) -> str:
    """Draw mean and deviation of the mIoU: bars for variants without order, curves for a sweep; an SVG file's text."""
    sweep = all(row.value is not None for row in found)
    figure = Figure(figsize=(7, 4 if sweep else 1 + 0.35 * len(found)), layout="constrained")
    axes = figure.subplots()
    for masks, title in SETS.items():
        present = [row for row in found if masks in row.miou]
        if not present:
            continue
        means, deviations = zip(*(row.miou[masks] for row in present), strict=True)
        if sweep:
            places = [row.value for row in present if row.value is not None]
            axes.errorbar(places, means, deviations, marker="o", capsize=3, label=title)
        else:
            axes.errorbar(means, [row.variant for row in present], xerr=deviations, fmt="o", capsize=3, label=title)
    score = "mIoU one-to-one, percent; mean ± deviation over seeds"
    axes.set(**({"xlabel": EXPERIMENTS[experiment].label, "ylabel": score} if sweep else {"xlabel": score}))
    if not sweep:
        axes.invert_yaxis()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper right", ncols=len(SETS))
    text = io.StringIO()
    # Without a date, the same results give the same file.
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _csv(results: Sequence[Result]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    scores = [f"{masks}_{score}" for masks in SETS for score in SCORES]
    writer.writerow(["variant", "value", "seed", "images", "segments_per_image", "seconds_per_image", *scores])
    for result in results:
        values = [_score(result, masks, score) for masks in SETS for score in SCORES]
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


def _score(result: Result, masks: str, score: str) -> float | None:
    """Give a score in percent; None where the run has no such masks."""
    metrics = result.summary["metrics"].get(masks)
    if metrics is None:
        return None
    matching, name = SCORES[score]
    return 100 * float(metrics[matching][name])


def _pair(pair: tuple[float, float] | None) -> str:
    return "" if pair is None else f"{pair[0]:.1f} ± {pair[1]:.1f}"
