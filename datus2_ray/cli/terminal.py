"""What the commands print: scores of a run or of several, the state of a run, plans, findings of checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from datus2_ray.commands.doctor import Finding
from datus2_ray.commands.plan import Plan
from datus2_ray.commands.status import StageStatus
from datus2_ray.engine.machines import Machines
from datus2_ray.report.scores import NAMED_SETS, SETS
from datus2_ray.store.run_folder import PASSED_OVER, REPORT

if TYPE_CHECKING:  # it imports the stages
    from datus2_ray.commands.annotations import Imported


def print_summary(summary: dict[str, Any], out: str) -> None:
    """Print what a run did (``summary.json``), its scores if there is ground truth, and where the report is."""
    console = Console(highlight=False)
    quarantined = f", {summary['quarantined']} in quarantine" if summary["quarantined"] else ""
    images = f"{summary['images']:,} images{quarantined}"
    for note, count in summary["notes"].items():
        console.print(f"{count:,} image{'s' if count > 1 else ''}: {note}", markup=False)
    if summary["passed_over"]:
        console.print(f"files passed over: {summary['passed_over']:,}, see {out}/{PASSED_OVER}", soft_wrap=True)
    console.print(f"{images}, {summary['segments']:,} segments, {summary['clusters']} clusters")
    for line in (summary.get("ground_truth") or {}).get("lines", []):
        console.print(line, markup=False)
    print_warnings(summary)
    if skipped := summary["refinement"].get("skipped"):
        console.print(f"refinement skipped: {skipped}")
    if summary["metrics"]:
        console.print(score_table(summary["metrics"]))
        if "names" in summary["metrics"]:
            console.print(names_table(summary["metrics"]["names"]))
    console.print(f"report: {out}/{REPORT}", soft_wrap=True)
    console.print(f"name the clusters: datus2 explore {out}", soft_wrap=True)


def print_warnings(summary: dict[str, Any]) -> None:
    """Print what a reader must know before using the masks of the weights: random, with labels, an assumed mean."""
    console = Console(highlight=False)
    if not summary["backbone"]["trained"]:
        console.print(f"backbone {summary['backbone']['name']} is UNTRAINED: its masks show the steps, not the quality")
    for used in (summary["backbone"], summary["cnn"]):
        if used and used["supervised"]:
            console.print(f"{used['name']} was trained WITH LABELS: these masks are not unsupervised")
        if used and used.get("assumed"):
            console.print(
                f"{used['name']} does not say with which mean and deviation of pixels it was trained: ImageNet's were "
                "taken; a JSON beside the file names others",
                soft_wrap=True,
            )


def score_table(metrics: dict[str, Any]) -> Table:
    """Return the table of a run's scores, in percent."""
    images, k, seed = metrics["images"], metrics["clusters"], metrics["seed"]
    table = _score_columns(f"{images:,} labelled images, K = {k}, seed {seed}{_protocol(metrics)}; in percent")
    for name, title in SETS.items():
        if name in metrics:
            table.add_row(title, *(_percent(value) for value in _row(metrics[name])))
    return table


def names_table(scores: dict[str, Any]) -> Table:
    """Return the table of the scores of names, ``names`` of ``metrics.json``, in percent."""
    by_name, classes = scores["named"]["by_name"], scores["classes"]
    others = len(classes) - by_name
    ending = f", {others} to their most frequent class" if others else ""
    table = Table(title=f"{by_name} classes matched by name{ending}; in percent", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("masks", no_wrap=True)
    for column in ("mIoU", "acc.", "F1", "cover-\nage"):
        table.add_column(column, justify="right")
    for name in NAMED_SETS:
        if name in scores:
            values = (scores[name][key] for key in ("miou", "pixel_accuracy", "mean_f1", "coverage"))
            table.add_row(name, *map(_percent, values))
    return table


def seeds_table(scores: dict[str, Any]) -> Table:
    """Return the table of means and standard deviations, of :func:`~datus2_ray.core.score.seeds.over_seeds`."""
    seeds = ", ".join(str(run["seed"]) for run in scores["seeds"])
    runs = f"{len(scores['seeds'])} runs, seeds {seeds}{_protocol(scores['seeds'][0])}"
    table = _score_columns(f"mean ± standard deviation over {runs}; in percent")
    for name, title in SETS.items():
        if name in scores["mean"]:
            pairs = zip(_row(scores["mean"][name]), _row(scores["std"][name]), strict=True)
            table.add_row(title, *(f"{_percent(mean)}\n±{_percent(std)}" for mean, std in pairs))
    return table


def status_table(stages: Sequence[StageStatus]) -> Table:
    """Return the table of the state of each stage; its result lies in the folder STAGE/RESULT."""
    table = _table(("stage", "state", "rows", "refused", "parts", "seconds", "result"), "stage state result")
    for stage in stages:
        parts = f"{stage.parts} of {stage.of_parts}" if stage.of_parts else ""
        seconds = "" if stage.seconds is None else f"{stage.seconds:.1f}"
        counts = ("", "") if stage.uri is None else (f"{stage.rows:,}", f"{stage.quarantined:,}")
        result = "" if stage.uri is None else stage.uri.rpartition("/")[2]
        table.add_row(stage.stage, stage.state, *counts, parts, seconds, result)
    return table


def print_plan(plan: Plan) -> None:
    """Print what a command would do, and with which machines."""
    console = Console(highlight=False)
    console.print(f"{plan.source.images:,} images{', with masks' if plan.source.labelled else ''}")
    console.print(machines_line(plan.machines))
    console.print(plan_table(plan))
    for note in plan.notes:
        console.print(note)


def plan_table(plan: Plan) -> Table:
    """Return the table of what each stage runs; the memory is that of code, models and images."""
    table = _table(("stage", "what", "at once", "device", "GPUs each", "parts", "memory"), "stage what device")
    for stage, use in plan.uses:
        count = f"{use.count}" if use.count == use.max_count else f"{use.count}..{use.max_count}"
        gpus = f"{use.gpus:g}" if use.gpus else ""
        parts = "" if use.parts is None else f"{use.parts:,}"
        memory = "" if use.memory is None else size(use.memory)
        table.add_row(stage, use.runs, count, use.device, gpus, parts, memory)
    return table


def machines_line(machines: Machines) -> str:
    """Return a line on the resources of a cluster or this machine."""
    name = "the cluster" if machines.joined else "this machine"
    nodes = f" in {len(machines.nodes)} nodes" if len(machines.nodes) > 1 else ""
    return f"{name} has {machines.cpus} CPUs, {machines.gpus} GPUs and {size(machines.memory)} of memory{nodes}"


def size(count: int) -> str:
    """Return a number of bytes in GB or MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def print_findings(findings: Sequence[tuple[str, Finding]]) -> None:
    """Print the findings of checks, a line each."""
    console = Console(highlight=False)
    for name, finding in findings:
        console.print(f"{finding.state.upper() if finding.state != 'ok' else 'ok':8} {name:15} ", end="", markup=False)
        console.print(finding.text, markup=False, soft_wrap=True)


def _table(columns: Sequence[str], left: str) -> Table:
    """Return an empty table, with some columns justified to the left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in left.split() else "right", no_wrap=True)
    return table


def _score_columns(title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("masks", no_wrap=True)
    for column in ("mIoU\n1:1", "acc.\n1:1", "F1\n1:1", "mIoU\nn:1", "mIoU\nDatUS²", "cover-\nage", "NMI", "ARI"):
        table.add_column(column, justify="right")
    return table


def _protocol(metrics: dict[str, Any]) -> str:
    """Return the protocol for a title, where it is not the default."""
    name = metrics.get("protocol", "datus2")
    return "" if name == "datus2" else f", protocol {name}"


def _row(scores: dict[str, Any]) -> tuple[float | None, ...]:
    one, many, datus2 = scores["one_to_one"], scores["many_to_one"], scores["datus2"]
    values = (one["miou"], one["pixel_accuracy"], one["mean_f1"], many["miou"], datus2["miou"])
    return (*values, datus2["coverage"], scores["nmi"], scores["ari"])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def print_imported(imported: Imported) -> None:
    """Print what an import brought, and how well the masks of the run agreed with it."""
    scores = imported.scores
    print(
        f"{imported.images:,} images, of which the {scores['set']} masks agreed in "
        f"{100 * (scores['pixel_accuracy'] or 0):.1f} % of the pixels (mIoU {100 * (scores['miou'] or 0):.1f})\n"
        f"named: {imported.clusters:,} clusters, {imported.segments:,} single segments\n"
        f"masks and scores: {imported.uri}"
    )
    if imported.without_area:
        print(f"{imported.without_area:,} annotations of the file have no area, such as boxes, and are passed over")
    if imported.unknown:
        names = ", ".join(imported.unknown[:3]) + (", …" if len(imported.unknown) > 3 else "")
        print(f"{len(imported.unknown):,} images of the file are none of the run: {names}")
