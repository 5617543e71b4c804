"""What was run, on what, and what came of it, as lines of the report: a name, a value, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from datus2_ray.report.survey import Survey
from datus2_ray.sources import layouts
from datus2_ray.store import schemas, storage
from datus2_ray.store.events import EventLog
from datus2_ray.store.run_folder import QUARANTINE, RunFolder

DESCRIPTORS = {
    "cls": "class token of the segment's crop, everything else in it black",
    "tokens": "mean of the segment's patch tokens",
    "tokens+cls": "mean of the segment's patch tokens, and class token of its crop, everything else in it black",
    "cnn": "CNN features of the segment's crop",
}

#: Refused images that the report names one by one.
MOST_REFUSED = 50


@dataclass(frozen=True)
class Fact:
    """A line of the report; `note` explains it."""

    name: str
    value: str
    note: str = ""


def title_of(config: Mapping[str, Any]) -> str:
    """Name what the run is about: its data set and split, or its folder."""
    layout = layouts.find(config["dataset"])
    if layout.name == "folder":
        return str(config["source"]).rstrip("/").rpartition("/")[2] or str(config["source"])
    return f"{layout.title}, {config['split']}" if config["split"] else layout.title


def run_facts(folder: RunFolder, config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Fact]:
    """Say what was run, from its source to the machine.

    Parameters
    ----------
    folder : RunFolder
        The run.
    config, summary : mapping
        What ``config.json`` and ``summary.json`` hold.
    """
    discover, cluster = config["discover"], config["cluster"]
    layout = layouts.find(config["dataset"])
    limit = f"the first {config['limit']:,} image ids" if config["limit"] else ""
    scaled = cluster.get("scaling", "none")
    projection = f", descriptors {scaled} first" if scaled != "none" else ""
    projection += f", after PCA to {cluster['pca']} dimensions" if cluster["pca"] else ""
    restarts = f"{cluster['restarts']} restart{'s' if cluster['restarts'] > 1 else ''}"
    finer = cluster.get("overclustering", 1)
    merged = f", {finer} centroids a cluster, merged by average linkage" if finer > 1 else ""
    # A run made before there was a choice has no such settings.
    noise = "goes to the segment that it is most alike" if discover.get("noise") == "given" else "is noise"
    facts = [
        Fact("Source", config["source"], limit),
        Fact("Data set", layout.title, f"split {config['split']}" if config["split"] else "all that the source holds"),
        Fact("Preset", config["preset"], "the settings that the run started from; all of them are listed below"),
        Fact(
            "Backbone",
            summary["backbone"]["name"] + ("" if summary["backbone"]["trained"] else " (untrained)"),
            f"sees {_view(discover)}; its {discover['feature']} vectors of {_blocks(discover)} span {_graph(discover)}",
        ),
        Fact(
            "Segments",
            f"Louvain ({discover['louvain']}), τ = {discover['tau']}",
            f"communities at resolution {_resolution(discover, summary)}, split into connected parts; a part of at "
            f"most {discover['tau']} patches {noise}",
        ),
        Fact("Descriptor", discover["descriptor"], DESCRIPTORS[discover["descriptor"]]),
        Fact(
            "Clusters",
            f"K = {summary['clusters']}",
            f"{cluster['metric']} k-means ({cluster['algorithm']}), {cluster['start']} start, {restarts}{projection}"
            f"{merged}",
        ),
        Fact("Seed", str(config["seed"]), "decides every random choice"),
        Fact("Refinement", *describe_refinement(summary["refinement"])),
        Fact("Versions", ", ".join(f"{name} {version}" for name, version in summary["versions"].items())),
        Fact("Machine", ", ".join(_machine(summary["machine"]))),
    ]
    events = EventLog(folder.path("events.jsonl")).read()
    if events:
        finished = datetime.fromtimestamp(events[-1]["time"], UTC)
        facts.append(Fact("Finished", f"{finished:%Y-%m-%d %H:%M} UTC"))
    return facts


def _resolution(discover: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    chosen = discover["resolution"] == "auto"
    return f"{summary['resolution']:g} (found on a sample, without labels)" if chosen else f"{discover['resolution']:g}"


def _graph(discover: Mapping[str, Any]) -> str:
    # A run made before there was a choice has none of these settings.
    if discover.get("graph") != "neighbours":
        return "the binary graph"
    losses = {"places": discover.get("place"), "colours": discover.get("colour")}
    also = " and ".join(name for name, loss in losses.items() if loss)
    parts = [f"a graph of each patch's {discover['neighbours']} nearest neighbours"]
    parts += [f"also by their {also}"] if also else []
    parts += [f"of weights above {discover['threshold']:g}"] if discover.get("threshold") else []
    return ", ".join(parts)


def _view(discover: Mapping[str, Any]) -> str:
    side = discover["input_size"]
    size = f"a short side of {side} pixels" if discover.get("keep_aspect") else f"{side} × {side} pixels"
    tiles = f", through windows of {discover['tile']} pixels" if discover.get("tile") else ""
    return f"{size}{tiles}, and the mirror image" if discover.get("mirror") else f"{size}{tiles}"


def _blocks(discover: Mapping[str, Any]) -> str:
    last = "the last block" if discover["block"] == -1 else f"block {discover['block']}"
    count = discover.get("blocks", 1)
    return last if count == 1 else f"{count} blocks up to {last}, their mean,"


def _machine(machine: Mapping[str, Any]) -> list[str]:
    # The system's name speaks for itself; a number needs its noun.
    return [str(value) if name == "system" else f"{value} {name}" for name, value in machine.items()]


def describe_refinement(refinement: Mapping[str, Any]) -> tuple[str, str]:
    """Say how the masks were refined, or why they were not, and what that means.

    Parameters
    ----------
    refinement : mapping
        What refine committed, or the reason under ``skipped``.
    """
    if "skipped" in refinement:
        return f"skipped: {refinement['skipped']}", "the initial masks are the run's result"
    kept = f"; step {refinement['best_step']:,} is kept" if "best_step" in refinement else ""
    size = refinement["size"]
    return (
        f"{_network(refinement)}, {refinement['steps']:,} steps{kept}",
        f"trained on the initial masks alone: {refinement['batch_size']} images of {size} × {size} pixels a step; "
        "kept is the checkpoint with the lowest loss on held-out images, no label takes part",
    )


def _network(refinement: Mapping[str, Any]) -> str:
    if refinement.get("network") == "linear":
        return "a linear layer on the tokens of the frozen backbone"
    start = refinement["encoder_start"]
    weights = f"weights from {start}" if start != "random" else "random weights"
    if refinement["supervised"]:
        weights += " (supervised)"
    return f"DeepLabV3, {refinement['encoder']} from {weights}, output stride {refinement['output_stride']}"


def warnings_of(summary: Mapping[str, Any]) -> list[Fact]:
    """Give what a reader must know before a number is believed."""
    warnings = []
    if not summary["backbone"]["trained"]:
        text = "Its weights are random: the masks and scores below show that every step works, not what it can reach."
        warnings.append(Fact("Untrained backbone", text))
    for what, name in (("backbone", "The backbone"), ("cnn", "The network that describes the segments")):
        used = summary.get(what)
        if used and used.get("supervised"):
            text = f"{name}, {used['name']}, was trained with labels: nothing below is unsupervised."
            warnings.append(Fact("Supervised weights", text))
    if summary["refinement"].get("supervised"):
        text = (
            f"The encoder of the refinement started from {summary['refinement']['encoder_start']} weights, which were "
            "trained with labels: the refined masks are not unsupervised."
        )
        warnings.append(Fact("Supervised weights", text))
    return warnings


def count_facts(summary: Mapping[str, Any], survey: Survey) -> list[Fact]:
    """Give the numbers at the top of the report."""
    mean = survey.segments / survey.images if survey.images else 0.0
    without = f"; {survey.empty_images:,} images have none" if survey.empty_images else ""
    share = "–" if survey.noise_share is None else f"{100 * survey.noise_share:.1f} %"
    return [
        Fact("images", f"{summary['images']:,}", "read and used"),
        Fact("in quarantine", f"{summary['quarantined']:,}", "refused, each with its reason"),
        Fact("segments", f"{survey.segments:,}", "connected parts of images, found without labels"),
        Fact("segments / image", f"{mean:.1f}", f"from {survey.fewest} to {survey.most}{without}"),
        Fact("noise", share, "patches in segments too small to count"),
        Fact("clusters", f"{summary['clusters']:,}", "groups of alike segments: the classes found"),
    ]


@dataclass(frozen=True)
class Refusal:
    """Images that one step refused for one kind of fault."""

    stage: str
    kind: str
    count: int
    examples: list[tuple[str, str]]


def read_quarantine(folder: RunFolder) -> list[Refusal]:
    """Count the refused images by step and kind of fault, most first, with the first few of each."""
    uri = folder.path(QUARANTINE)
    rows = storage.read_table(uri) if storage.exists(uri) else schemas.QUARANTINE.empty_table()
    groups: dict[tuple[str, str], Refusal] = {}
    for row in rows.sort_by("image_id").to_pylist():
        key = row["stage"], row["kind"]
        before = groups.get(key, Refusal(*key, 0, []))
        examples = [*before.examples, (row["image_id"], row["message"])][:MOST_REFUSED]
        groups[key] = Refusal(*key, before.count + 1, examples)
    return sorted(groups.values(), key=lambda group: (-group.count, group.stage, group.kind))
