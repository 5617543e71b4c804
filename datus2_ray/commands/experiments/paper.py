"""`datus2 experiment paper`: the paper's three experiments and three questions in one run folder, and their page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from datus2_ray.commands.experiments.answer import cells, chart, rows, write_answer
from datus2_ray.commands.experiments.changes import final_masks, names, seeds
from datus2_ray.commands.experiments.conclusions import conclude
from datus2_ray.commands.experiments.run import Result, run_experiment, run_variants
from datus2_ray.commands.experiments.spread import Spread
from datus2_ray.commands.experiments.variants import EXPERIMENTS, patch_size
from datus2_ray.config import RunConfig
from datus2_ray.report.charts import Chart, Series, draw_chart
from datus2_ray.report.experiments import Section, Table, render_experiments
from datus2_ray.report.overview import Line, title_of
from datus2_ray.store import storage
from datus2_ray.version import VERSION

#: File of the page, below the experiment's folder.
PAGE = "paper.html"

#: Scores of the first experiment: title, and the path in the metrics of a set.
SCORES = {
    "mIoU": ("one_to_one", "miou"),
    "pixel acc.": ("one_to_one", "pixel_accuracy"),
    "F1": ("one_to_one", "mean_f1"),
    "mIoU, many-to-one": ("many_to_one", "miou"),
    "mIoU, DatUS² rule": ("datus2", "miou"),
    "pixel acc., DatUS² rule": ("datus2", "pixel_accuracy"),
    "its coverage": ("datus2", "coverage"),
}


@dataclass(frozen=True)
class Part:
    """An experiment as the page has it; `published` is what others measured, if anything."""

    experiment: str
    title: str
    question: str
    published: str = ""


PARTS = (
    Part(
        "presets",
        "Experiment 1: initial masks against the ground truth",
        "How close are masks that no label had a part in to the ground truth, by the paper's settings and by ours?",
        "SUIM train, the best of several backbones each: 24.9 % mIoU, 62.2 % pixel accuracy, 36.3 % F1 (arXiv "
        "2401.12820); one seed, and noise is not scored.",
    ),
    Part(
        "patch-size",
        "Experiment 2: the size of patches",
        "Are smaller patches better?",
        "smaller patches are better on every metric (arXiv 2401.12820, of backbones trained with patches of 8 and 16).",
    ),
    Part(
        "clusters",
        "Experiment 3: more clusters than classes",
        "What do more clusters than classes bring?",
        "over-clustering COCO (59 to 63 clusters, 27 classes) gives 16.0 % mIoU in place of 12.0 %, by a rule that "
        "drops the pixels of unmatched clusters (authors' answers to reviewers).",
    ),
    Part("ablation", "Question 1: components", "What is each component worth?"),
    Part(
        "dedicated",
        "Question 2: a dedicated method on the same features",
        "How does a head that is trained for segmentation compare, and do segments, merging and EM add to it?",
        "STEGO (arXiv 2203.08414) with ViT-B/8 of DINO: 28.2 % mIoU on COCO-Stuff-27, 21.0 % on Cityscapes-27, by "
        "its own protocol.",
    ),
    Part(
        "data-size",
        "Question 3: the number of images",
        "How do quality and cost depend on the number of images?",
    ),
)


def run_paper(
    base: RunConfig, number: int, backbones: Sequence[str], note: Callable[[str], None]
) -> dict[str, list[Result]]:
    """Run every part with so many seeds, all in one run folder; what an earlier call has done is not done again.

    Parameters
    ----------
    base : RunConfig
        Settings that the variants start from; ``out`` is the experiments' folder, ``seed`` the first seed.
    backbones : sequence of str
        Others, whose patches have other sizes: compared in the second experiment.
    note : callable
        Called with a line that says which run comes next.

    Returns
    -------
    dict
        By experiment, in the order of :data:`PARTS`.

    Raises
    ------
    UsageError
        As :func:`~datus2_ray.commands.experiments.run.run_experiment` does.
    """
    found = {}
    for part in PARTS:
        name = part.experiment
        say = partial(_say, note, name)
        if name == "patch-size" and backbones:
            make = partial(patch_size, base, (), backbones=backbones)
            found[name] = run_variants(name, base, make, number, say)
        else:
            found[name] = run_experiment(name, base, number, (), say)
        # Each is there as soon as it is done.
        write_answer(name, found[name], base.out)
    return found


def _say(note: Callable[[str], None], experiment: str, line: str) -> None:
    note(f"{experiment}: {line}")


def write_paper(base: RunConfig, results: dict[str, list[Result]]) -> str:
    """Write the page of all experiments and return its URI."""
    sections = [_section(part, results[part.experiment]) for part in PARTS if part.experiment in results]
    page = render_experiments(f"DatUS², experiments on {title_of(base)}", _facts(base, results), sections)
    uri = storage.join(base.out, PAGE)
    storage.write_bytes(uri, page.encode())
    return uri


def _section(part: Part, results: Sequence[Result]) -> Section:
    name, conclusion = part.experiment, conclude(part.experiment, results)
    variants = rows(results, EXPERIMENTS[name].matching)
    header, *lines = cells(variants)
    tables = [Table("mIoU / pixel accuracy", header, lines)]
    charts = [chart(name, variants)]
    if name == "presets":
        tables.append(_all_scores(results))
    if conclusion.header:
        tables.append(Table("What was added to what", conclusion.header, conclusion.rows))
    if name == "data-size" and (cost := _cost(results)):
        charts.append(cost)
    # Names of presets are marked for Markdown.
    sentences = [text.replace("`", "") for text in conclusion.sentences]
    return Section(name, part.title, part.question, part.published, sentences, tables, charts)


def _all_scores(results: Sequence[Result]) -> Table:
    lines = []
    for name in names(results):
        for masks in ("initial", "refined", "token_kmeans"):
            found = [[*seeds(results, (name, masks), score, rule).values()] for rule, score in SCORES.values()]
            if all(found):
                lines.append([f"{name}, {masks.replace('_', ' ')}", *(str(Spread.of(values)) for values in found)])
    return Table("All scores", ["masks", *SCORES], lines)


def _cost(results: Sequence[Result]) -> Chart | None:
    """Draw the seconds of all steps over the number of images; None where an attempt took its times with it."""
    points = [(result.summary["images"], sum(result.summary["seconds"].values())) for result in results]
    images, seconds = (np.array(values, float) for values in zip(*sorted(points), strict=True))
    if not seconds.all():
        return None
    series = [Series("all steps of a run", "initial", images, seconds, dots=True, line=False)]
    return draw_chart("cost", "images", "seconds", series, note="What runs share is counted in each of them.")


def _facts(base: RunConfig, results: dict[str, list[Result]]) -> list[Line]:
    every = [result for of_part in results.values() for result in of_part]
    machine = every[0].summary["machine"]
    numbers = sorted({result.seed for result in every})
    images = max(result.summary["images"] for result in every)
    return [
        Line("Source", base.source, f"the first {base.limit:,} image ids" if base.limit else ""),
        Line("Images", f"{images:,}"),
        Line("Backbone", base.backbone or "the packaged one"),
        Line("Settings", base.preset, "initial masks only" if final_masks(results["presets"]) == "initial" else ""),
        Line("Seeds", ", ".join(map(str, numbers))),
        Line("Program", f"datus2-ray {VERSION}", f"{machine['processors']} processors, {machine['system']}"),
    ]
