"""Names of a finished run: take a file of them, write masks of classes, teach a layer, say how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from datus2_ray.commands.plan import check_place, plan_stages
from datus2_ray.commands.summary import collect_metrics, write_metrics
from datus2_ray.config.load import read_config
from datus2_ray.core.names.carry import SegmentedImage, carry_over
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.naming import require_naming
from datus2_ray.engine.run import Run, open_run
from datus2_ray.engine.segments_table import LabelledImage, SegmentsTable
from datus2_ray.engine.session import start_ray
from datus2_ray.engine.stage import Stage
from datus2_ray.engine.training.shares import image_ids
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing
from datus2_ray.stages import NAME_COMMAND, RUN, TEACH_COMMAND
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Ingested, Labelled, Taught
from datus2_ray.store.names import append_change, open_names, parse_names, read_names, read_text
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class NamingProgress:
    """How far the naming of a run is.

    Parameters
    ----------
    named, fine : int
        Fine clusters that have a class, and all of them.
    share : float
        Share of all pixels whose fine cluster has a class, in [0, 1].
    segments, classes : int
        Single segments that have a class of their own; classes.
    """

    named: int
    fine: int
    share: float
    segments: int
    classes: int

    def __str__(self) -> str:
        alone = f"; {self.segments:,} single segments" if self.segments else ""
        of_all = f"{self.named} of {self.fine} fine clusters named, {100 * self.share:.0f} % of all pixels"
        return f"{of_all}{alone}; {self.classes} classes"


def naming_progress(run: str) -> NamingProgress:
    """Return how far the naming of a finished run is.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If its ``names.yaml`` is wrong, or of another clustering.
    """
    folder = RunFolder.of_finished(run)
    clustered, labelled = folder.require(Clustered), folder.require(Labelled)
    names = read_names(folder)
    names.check_clustering(clustered.fingerprint)
    named = names.of_fine(clustered.facts.centroids) >= 0
    areas = labelled.facts.areas
    share = sum(area for area, known in zip(areas, named, strict=True) if known) / max(1, labelled.facts.pixels)
    alone = sum(map(len, names.segments.values()))
    return NamingProgress(int(named.sum()), len(named), share, alone, len(names.classes))


def take_names(run: str, file: str, who: str | None = None) -> None:
    """Take the names of a file as those of a finished run, as one change that can be undone.

    Raises
    ------
    UsageError
        If the file does not hold names, or they are of another clustering, or name a cluster, an image or a segment
        that is not there.
    """
    folder = RunFolder.of_finished(run)
    clustered = folder.require(Clustered)
    given = parse_names(read_text(file), file, clustered.fingerprint)
    try:
        given.check_clustering(clustered.fingerprint)
        given.check_clusters(clustered.facts.centroids)
        _check_segments(folder, given)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error
    names, number = open_names(folder)
    change = Change.between(names, given)
    if not change.is_empty:
        append_change(folder, change, number, who)


def name(run: str, *, teach: bool = False) -> dict[str, Any]:
    """Write the masks of a finished run as its clusters and segments are named, and score them where there is truth.

    The run stays finished and as it is; the masks lie below their fingerprint as every result does.

    Parameters
    ----------
    run : str
        Folder of the finished run.
    teach : bool
        Fit a layer to the tokens of named segments too, and write its masks, with confidence, as a second set. What was
        taught these very names stays without it.

    Returns
    -------
    dict
        What ``summary.json`` holds then.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If nothing is named, the names are of another clustering, or there are no tokens to teach a layer with.
    DatusError
        If a stage fails, as in a run.
    """
    folder = RunFolder.of_finished(run)
    summary = storage.read_json(folder.path("summary.json"))
    naming = require_naming(folder, summary["clusters"])
    if teach:
        _check_tokens(folder)
    taught = folder.find(Taught)
    teach = teach or (taught is not None and taught.facts.names == naming.names.fingerprint())
    stages: Sequence[Stage[Any]] = TEACH_COMMAND if teach else NAME_COMMAND
    config = read_config(folder.path("config.json")).model_copy(update={"out": folder.uri})
    machines = check_place(config, "run")
    commits = {stage.name: commit for stage in RUN if (commit := folder.find(stage.facts)) is not None}
    # Nothing of the source is read that ingest has not listed, so it need not be listed again.
    listing = Listing({}, {}, {}, "", folder.require(Ingested).facts.dataset, labelled=False, columns=None)
    plan_stages(config, stages, listing, machines, commits)
    with open_run(config, "run", listing, machines) as opened:
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute

        opened.events.open("name", teach=teach)
        named, _ = execute(opened.after(commits).by(naming).on(Machines.now()), stages)
        return _finish(named, summary)


def _finish(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """Write metrics, summary and report with the scores of names, where they changed."""
    from datus2_ray.report.html import write_report

    metrics = collect_metrics(run)
    if metrics == summary["metrics"]:
        return summary
    write_metrics(run)
    summary = {**summary, "metrics": metrics}
    storage.write_json(run.folder.path("summary.json"), summary)
    write_report(run.folder)
    return summary


def _check_tokens(folder: RunFolder) -> None:
    """Raise a UsageError if discover kept no tokens."""
    discovered = folder.require(Discovered)
    first = min(discovered.parts)
    tokens = storage.read_table(discovered.path(first), ["tokens"])["tokens"]
    if tokens.null_count == len(tokens):
        raise UsageError(
            f"{folder.uri} has no tokens of patches, which a layer learns from: nothing in that run read them; run it "
            "without --no-refine"
        )


def _check_segments(folder: RunFolder, names: Names) -> None:
    """Raise a UsageError if an image or a segment is named that is not there."""
    missing = set(names.segments)
    labelled = folder.require(Labelled)
    for part in sorted(labelled.parts) if missing else ():
        table = storage.read_table(labelled.path(part), ["image_id", "segment_fine"])
        for image_id, fine in zip(table["image_id"].to_pylist(), table["segment_fine"], strict=True):
            if image_id in missing:
                names.of_segments(image_id, fine.values.to_numpy())
                missing.remove(image_id)
    if missing:
        raise UsageError(f"image {min(missing)!r} is named, and the run has no such image with a mask")


def carry_over_names(run: str) -> list[str]:
    """Map the names of an earlier clustering in this folder to the current one by overlap, as one change.

    Returns
    -------
    list of str
        What could not be carried over, a line each after one that counts what could.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If the segments of the earlier clustering are not in the folder any more.
    """
    folder = RunFolder.of_finished(run)
    clustered, labelled = folder.require(Clustered), folder.require(Labelled)
    names, number = open_names(folder)
    if names.is_empty or names.clustering == clustered.fingerprint:
        return ["the names are of the current clustering; there is nothing to carry over"]
    old = _find_labelled(folder, names.clustering)
    pairs = _pairs(folder, old, labelled)
    carried = carry_over(names, clustered.fingerprint, clustered.facts.centroids, pairs)
    append_change(folder, Change.between(names, carried.names), number)
    lines = [
        f"fine cluster {cluster} stays open; most of what was named in it was {title!r}"
        for cluster, title in carried.open_clusters.items()
    ]
    lines += [
        f"image {image_id!r}: segments {', '.join(map(str, found))} are not found again"
        for image_id, found in carried.open_segments.items()
    ]
    return [f"{len(carried.names.clusters)} fine clusters named; {len(lines)} not carried over", *lines]


def _find_labelled(folder: RunFolder, clustering: str) -> Commit[Labelled]:
    """Return clusters of segments by an earlier clustering."""
    place = folder.path(Labelled.stage)
    for begun in sorted({entry.path.partition("/")[0] for entry in storage.list_files(place)}):
        commit = folder.find(Labelled, begun)
        if commit is not None and folder.inputs(Labelled.stage, begun).get(Clustered.stage) == clustering:
            return commit
    raise UsageError(
        f"{folder.uri}: the names are of clustering {clustering[:12]}, whose segments are not in {place} any more; "
        "name the clusters anew, or move names.yaml and names.jsonl away"
    )


def _segments(folder: RunFolder, labelled: Commit[Labelled]) -> SegmentsTable:
    inputs = folder.inputs(Labelled.stage, labelled.fingerprint)
    return SegmentsTable(folder.result(Discovered.stage, inputs[Discovered.stage]), labelled.uri)


def _pairs(
    folder: RunFolder, old: Commit[Labelled], new: Commit[Labelled]
) -> Iterator[tuple[SegmentedImage, SegmentedImage]]:
    """Return the images that both clusterings have, which other parts may hold."""
    places = {image_id: part for part in sorted(old.parts) for image_id in image_ids(old.uri, [part])}
    before, after = _segments(folder, old), _segments(folder, new)

    def read(part: str) -> dict[str, LabelledImage]:
        return {image.image_id: image for image in before.read(part)}

    # Slices of the same sorted ids, or the same row groups: a part meets one or two others.
    cached = lru_cache(maxsize=2)(read)
    for part in sorted(new.parts):
        for image in after.read(part):
            if image.image_id in places:
                other = cached(places[image.image_id])[image.image_id]
                yield _without_mask(other), _without_mask(image)


def _without_mask(image: LabelledImage) -> SegmentedImage:
    return SegmentedImage(image.image_id, image.patch_map, image.fine)
