"""Names of a finished run: take a file of them, write masks of classes, teach a layer, say how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from datus2_ray.commands.plan import check_place, plan_stages
from datus2_ray.commands.summary import collect_metrics, names_shown, write_metrics
from datus2_ray.config.load import read_config
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.naming import require_naming
from datus2_ray.engine.run import listed_before, open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.engine.stage import Stage
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.stages import NAME_COMMAND, RUN, TEACH_COMMAND
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Clustered, Discovered, Labelled, Taught
from datus2_ray.store.names import append_change, locked, open_names, read_names
from datus2_ray.store.names_results import withdraw
from datus2_ray.store.names_yaml import parse_names, read_text
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

    The run stays finished and as it is; the masks lie below their fingerprint as every result does. Where all names
    were taken back, the masks of names are not current any more, and report and summary show none.

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
        If nothing was ever named, the names are of another clustering, or there are no tokens to teach a layer with.
    DatusError
        If a stage fails, as in a run.
    """
    folder = RunFolder.of_finished(run)
    if read_names(folder).is_empty and withdraw(folder):
        return _finish(folder)
    naming = require_naming(folder, storage.read_json(folder.path("summary.json"))["clusters"])
    if teach:
        _check_tokens(folder)
    taught = folder.find(Taught)
    teach = teach or (taught is not None and taught.facts.names == naming.names.fingerprint())
    stages: Sequence[Stage[Any]] = TEACH_COMMAND if teach else NAME_COMMAND
    config = read_config(folder.path("config.json")).model_copy(update={"out": folder.uri})
    machines = check_place(config, "run")
    commits = {stage.name: commit for stage in RUN if (commit := folder.find(stage.facts)) is not None}
    listing = listed_before(folder)
    plan_stages(config, stages, listing, machines, commits)
    with open_run(config, "run", listing, machines) as opened:
        start_ray(config.no_progress_seconds)

        from datus2_ray.engine.execute import execute

        opened.events.open("name", teach=teach)
        execute(opened.after(commits).by(naming).on(Machines.now()), stages)
        return _finish(folder)


def _finish(folder: RunFolder) -> dict[str, Any]:
    """Write metrics, summary and report as the names are now, where they do not say so already."""
    from datus2_ray.report.html import write_report

    def renew() -> tuple[dict[str, Any], dict[str, Any]]:
        kept: dict[str, Any] = storage.read_json(folder.path("summary.json"))
        return kept, {**kept, "names": names_shown(folder), "metrics": collect_metrics(folder)}

    # Without a lock, which a file system may not have.
    kept, named = renew()
    if named == kept:
        return kept
    with ExitStack() as lock:
        # So that nobody changes the names between the two files; where there are no locks, no program changes them.
        with suppress(StorageError):
            lock.enter_context(locked(folder))
        _, named = renew()
        write_metrics(folder)
        storage.write_json(folder.path("summary.json"), named)
    write_report(folder)
    return named


def _check_tokens(folder: RunFolder) -> None:
    """Raise a UsageError if discover kept no tokens."""
    discovered = folder.require(Discovered)
    first = min(discovered.parts)
    tokens = parquet.read_table(discovered.path(first), ["tokens"])["tokens"]
    if tokens.null_count == len(tokens):
        raise UsageError(
            f"{folder.uri} has no tokens of patches, which a layer learns from: nothing in that run read them; run it "
            "with --set refine.em=true"
        )


def _check_segments(folder: RunFolder, names: Names) -> None:
    """Raise a UsageError if an image or a segment is named that is not there."""
    missing = set(names.segments)
    labelled = folder.require(Labelled)
    for part in sorted(labelled.parts) if missing else ():
        table = parquet.read_table(labelled.path(part), ["image_id", "segment_fine"])
        for image_id, fine in zip(table["image_id"].to_pylist(), table["segment_fine"], strict=True):
            if image_id in missing:
                names.of_segments(image_id, fine.values.to_numpy())
                missing.remove(image_id)
    if missing:
        raise UsageError(f"image {min(missing)!r} is named, and the run has no such image with a mask")
