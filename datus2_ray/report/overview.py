"""What was run, on what, and with what outcome, as lines of the report: a name, a value, and an explanation."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.config import RunConfig
from datus2_ray.config.protocol import PROTOCOLS
from datus2_ray.report.curves import TARGETS
from datus2_ray.report.facts import FinishedRun
from datus2_ray.report.survey import Survey
from datus2_ray.sources.layouts import known
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.commit import Commit, F
from datus2_ray.store.facts import Clustered, HeadLearned, LayerFitted, Refined
from datus2_ray.store.run_folder import ALL_QUARANTINED, RunFolder

DESCRIPTORS = {
    "cls": "class token of the segment's crop, everything else in it black",
    "tokens": "mean of the segment's patch tokens",
    "tokens+cls": "mean of the segment's patch tokens, and class token of its crop, everything else in it black",
    "cnn": "CNN features of the segment's crop",
}


#: Refused images per fault that the report lists one by one.
MAX_REFUSED = 50


@dataclass(frozen=True)
class Line:
    """A line of the report; `note` explains it."""

    name: str
    value: str
    note: str = ""


def title_of(config: RunConfig) -> str:
    """Return the data set and split of a run, or the name of its folder."""
    layout = known.find(config.dataset)
    if layout.name == "folder":
        return config.source.rstrip("/").rpartition("/")[2] or config.source
    return f"{layout.title}, {config.split}" if config.split else layout.title


def run_lines(run: FinishedRun) -> list[Line]:
    """Return what was run, from the source to the machine."""
    config, discover = run.config, run.config.discover
    lines = [
        Line("Source", config.source, f"the first {config.limit:,} image ids" if config.limit else ""),
        Line(
            "Data set",
            known.find(config.dataset).title,
            f"split {config.split}" if config.split else "all images of the source",
        ),
        *([Line("Protocol", config.protocol, PROTOCOLS[config.protocol].description)] if run.metrics else []),
        Line("Preset", config.preset, "the settings that the run started from; all of them are listed below"),
        Line(
            "Backbone",
            run.backbone.name + ("" if run.backbone.trained else " (untrained)"),
            f"sees {_input(config)}; {_graph(config)} of {_blocks(config)}",
        ),
        _segments(config),
        Line("Descriptor", *_descriptor(discover.descriptor, _facts(run.learned))),
        Line("Clusters", f"K = {run.k}", _clustering(config, run.clustered.facts, run.k)),
        Line("Seed", str(config.seed), "decides every random choice"),
        Line("Refinement", *describe_refinement(_facts(run.fitted), _facts(run.refined), run.skipped)),
        Line("Versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
        # The system's name explains itself; a number needs its noun.
        Line("Machine", ", ".join(str(v) if name == "system" else f"{v} {name}" for name, v in run.machine.items())),
    ]
    return lines + ([Line("Finished", f"{run.finished:%Y-%m-%d %H:%M} UTC")] if run.finished else [])


def _descriptor(name: str, learned: HeadLearned | None) -> tuple[str, str]:
    """Return what describes segments, and an explanation."""
    if learned is None:
        return name, DESCRIPTORS[name]
    return (
        f"{learned.codes} codes of a head, {learned.steps:,} steps",
        f"mean code of the segment's patches; the head learned from the tokens of {learned.images:,} images: what is "
        "alike in tokens, within an image and between two, shall be alike in codes; labels are not used",
    )


def _input(config: RunConfig) -> str:
    discover = config.discover
    side, unit = (discover.grid, "patches") if discover.grid else (discover.input_size, "pixels")
    size = f"a short side of {side} {unit}" if discover.keep_aspect else f"{side} × {side} {unit}"
    tiles = f", through windows of {discover.tile} pixels" if discover.tile else ""
    return f"{size}{tiles}, and the mirror image" if discover.mirror else f"{size}{tiles}"


def _segments(config: RunConfig) -> Line:
    discover = config.discover
    if discover.unit == "patches":
        return Line("Segments", "patches", "every patch is a segment of its own: there is no graph, and no noise")
    noise = "goes to the most similar segment" if discover.noise == "given" else "is noise"
    return Line(
        "Segments",
        f"Louvain ({discover.louvain}), τ = {discover.tau}",
        f"communities at resolution {discover.resolution:g}, split into connected parts; a part of at most "
        f"{discover.tau} patches {noise}",
    )


def _graph(config: RunConfig) -> str:
    discover = config.discover
    if discover.unit == "patches":
        return "the tokens"
    vectors = f"of its {discover.feature} vectors"
    if discover.graph != "neighbours":
        return f"the binary graph {vectors}"
    losses = {"places": discover.place, "colours": discover.colour}
    also = " and ".join(name for name, loss in losses.items() if loss)
    parts = [f"a graph of each patch's {discover.neighbours} nearest neighbours"]
    parts += [f"also by their {also}"] if also else []
    parts += [f"with weights above {discover.threshold:g}"] if discover.threshold else []
    return ", ".join(parts) + "," * (len(parts) > 1) + f" {vectors}"


def _blocks(config: RunConfig) -> str:
    discover = config.discover
    last = "the last block" if discover.block == -1 else f"block {discover.block}"
    return last if discover.blocks == 1 else f"{discover.blocks} blocks up to {last} (their mean)"


def _clustering(config: RunConfig, facts: Clustered, k: int) -> str:
    cluster = config.cluster
    starts = f"the best of {cluster.restarts} starts" if cluster.restarts > 1 else "one start"
    text = f"{cluster.metric} k-means ({cluster.algorithm}), {starts} by {cluster.start}"
    scaling, pca, whitening = cluster.projection
    text += f", descriptors {scaling} first" if scaling != "none" else ""
    whitened = f", whitened by the power {whitening:g}" if whitening else ""
    text += f", after PCA to {pca} dimensions{whitened}" if pca else ""
    if facts.centroids == k:
        return text
    votes = f", by the vote of {facts.votes} clusterings" if facts.votes > 1 else ""
    return f"{text}, {facts.centroids:,} fine clusters merged by average linkage{votes}"


def describe_refinement(fitted: LayerFitted | None, refined: Refined | None, skipped: str) -> tuple[str, str]:
    """Return how the masks were refined, or why they were not, and an explanation."""
    parts = [_layer(fitted)] if fitted else []
    parts += [_deeplab(refined)] if refined else []
    if not parts:
        return f"skipped: {skipped}", "the initial masks are the result of the run"
    return "; then ".join(value for value, _ in parts), "; ".join(note for _, note in parts)


def _facts(commit: Commit[F] | None) -> F | None:
    return commit.facts if commit else None


def _layer(fitted: LayerFitted) -> tuple[str, str]:
    rounds = len(fitted.agreements)
    return (
        f"EM on segments: a linear layer on tokens, {rounds} round{'s' * (rounds != 1)}, {fitted.steps:,} steps",
        f"the layer learns the clusters of the segments of {fitted.images:,} images, and every segment takes the "
        f"cluster that its tokens vote for; {100 * fitted.agreements[-1]:.1f} % of the tokens kept theirs in the last "
        "round; labels are not used",
    )


def _deeplab(refined: Refined) -> tuple[str, str]:
    weights = f"weights from {refined.encoder_start}" if refined.encoder_start != "random" else "random weights"
    weights += " (supervised)" if refined.supervised else ""
    return (
        f"DeepLabV3, {refined.encoder} from {weights}, output stride {refined.output_stride}, {refined.steps:,} steps; "
        f"step {refined.best_step:,} is kept",
        f"trained on the {TARGETS[refined.targets]} only: {refined.batch_size} images of {refined.size} × "
        f"{refined.size} pixels per step; the checkpoint with the lowest loss on held-out images is kept; labels are "
        "not used",
    )


def warnings_of(run: FinishedRun) -> list[Line]:
    """Return what a reader must know before the scores."""
    warnings = []
    if not run.backbone.trained:
        text = "Its weights are random: the masks and scores below show that every step works, not the quality."
        warnings.append(Line("Untrained backbone", text))
    for used, name in ((run.backbone, "The backbone"), (run.cnn, "The network that describes the segments")):
        if used and used.supervised:
            text = f"{name}, {used.name}, was trained with labels: nothing below is unsupervised."
            warnings.append(Line("Supervised weights", text))
        if used and used.assumed:
            text = (
                f"{name}, {used.name}, does not say with which mean and deviation of pixels it was trained: ImageNet's "
                "were taken."
            )
            warnings.append(Line("Assumed mean and deviation", text))
    if run.refined and run.refined.facts.supervised:
        text = (
            f"The encoder of the refinement started from {run.refined.facts.encoder_start} weights, which were trained "
            "with labels: the refined masks are not unsupervised."
        )
        warnings.append(Line("Supervised weights", text))
    return warnings


def count_lines(run: FinishedRun, survey: Survey) -> list[Line]:
    """Return the numbers at the top of the report."""
    mean = survey.segments / survey.images if survey.images else 0.0
    whole = run.discovered.facts.unstructured
    unstructured = f"; no structure was found in {whole:,} of the images, each of which is one segment" if whole else ""
    without = f"; {survey.empty_images:,} images have none" if survey.empty_images else ""
    found = f"connected parts of images, found without labels{unstructured}"
    found = found if run.config.discover.unit == "segments" else "every patch is one"
    share = "–" if survey.noise_share is None else f"{100 * survey.noise_share:.1f} %"
    return [
        Line("images", f"{run.images:,}", "read and used"),
        Line("in quarantine", f"{run.quarantined:,}", "refused, each with its reason"),
        Line("segments", f"{survey.segments:,}", found),
        Line("segments / image", f"{mean:.1f}", f"from {survey.min_segments} to {survey.max_segments}{without}"),
        Line("noise", share, "patches in segments too small to count"),
        Line("clusters", f"{run.k:,}", "groups of similar segments: the classes that were found"),
    ]


@dataclass(frozen=True)
class Refusal:
    """Images that one step refused for one kind of fault."""

    stage: str
    kind: str
    count: int
    examples: list[tuple[str, str]]


def read_quarantine(folder: RunFolder) -> list[Refusal]:
    """Read the refused images by step and kind of fault, most frequent first, with the first few of each."""
    uri = folder.path(ALL_QUARANTINED)
    rows = storage.if_there(parquet.read_table, uri) or schemas.QUARANTINE.empty_table()
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows.sort_by("image_id").to_pylist():
        groups.setdefault((row["stage"], row["kind"]), []).append((row["image_id"], row["message"]))
    refusals = [Refusal(*key, len(images), images[:MAX_REFUSED]) for key, images in groups.items()]
    return sorted(refusals, key=lambda refusal: (-refusal.count, refusal.stage, refusal.kind))
