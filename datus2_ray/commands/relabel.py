"""Masks of another number of clusters: a finished run from its clusters on, which are there for every K."""

from __future__ import annotations

from typing import Any

from datus2_ray.commands.plan import check_place, plan_stages
from datus2_ray.commands.run import run_stages
from datus2_ray.config.load import parse_config
from datus2_ray.engine.device import choose_identity
from datus2_ray.engine.run import listed_before, open_run
from datus2_ray.errors import UsageError
from datus2_ray.stages import RUN
from datus2_ray.stages.cluster.baseline import BASELINE
from datus2_ray.stages.cluster.token_tree import TOKEN_TREE
from datus2_ray.store import storage
from datus2_ray.store.facts import Clustered, TokensClustered
from datus2_ray.store.run_folder import RELABELLED, RunFolder

#: Stages up to fine clusters and their votes, from which any K follows; most of those after them are done for each K.
SHARED = RUN[: 1 + [stage.facts for stage in RUN].index(Clustered)]


def relabel(run: str, clusters: int) -> dict[str, Any]:
    """Compute the masks of a finished run for another number of clusters, in its own folder and with its settings.

    Its images, segments and fine clusters are taken as they are, wherever its source is now. What follows lies beside
    the results of the K before, and is current; going back computes nothing. Interrupted, it goes on. Scores come
    without the baselines, which `datus2 run --clusters K` adds.

    Parameters
    ----------
    run : str
        Folder of the finished run.
    clusters : int
        Number of clusters K, from 2 to the number of fine clusters.

    Returns
    -------
    dict
        What ``summary.json`` holds then.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If the run has no tree, or not for so many clusters.
    DatusError
        If a stage fails, as in a run.
    """
    folder = RunFolder(storage.absolute(run))
    # Of a finished run, or of one that a relabelling left when it was interrupted.
    begun: dict[str, Any] = storage.if_there(storage.read_json, folder.path(RELABELLED)) or _finished(folder)
    kept, clustered = parse_config(begun["settings"], folder.uri), folder.require(Clustered)
    if kept.cluster.fine is None:
        raise UsageError(
            f"{run} has no tree of clusters: with cluster.fine = null, k-means found its clusters themselves; give "
            f"--clusters {clusters} to `datus2 run`"
        )
    if not 2 <= clusters <= clustered.facts.centroids:
        raise UsageError(
            f"--clusters {clusters}: {run} has {clustered.facts.centroids} fine clusters; give a number from 2 to that"
        )
    config = kept.model_copy(update={"out": folder.uri, "clusters": clusters})
    machines = check_place(config, "run")
    # The tree of tokens comes later, and stays current although the baseline that is read off it is not computed here.
    shared = (*SHARED, TOKEN_TREE)
    commits = {stage.name: commit for stage in shared if (commit := folder.find(stage.facts)) is not None}
    listing = listed_before(folder)
    stages = RUN[len(SHARED) :]
    plan_stages(config, stages, listing, machines, commits)
    with open_run(config, "run", listing, machines) as opened:
        opened = opened.after(commits)
        # k-means on tokens takes longer than everything else here, and tells nothing of the new masks.
        baseline = folder.find(TokensClustered, choose_identity(opened, BASELINE).fingerprint)
        done = stages if baseline else tuple(stage for stage in stages if stage not in (TOKEN_TREE, BASELINE))
        if not folder.is_finished(config.model_dump(mode="json")):
            storage.write_json(folder.path(RELABELLED), begun)
        summary = run_stages(opened, done, begun["weights"])
        if storage.exists(folder.path(RELABELLED)):
            storage.remove_file(folder.path(RELABELLED))
        return summary


def _finished(folder: RunFolder) -> dict[str, Any]:
    """Return what relabelling needs of a finished run, which is no longer one once it begins."""
    folder.require_finished()
    settings, summary = (storage.read_json(folder.path(name)) for name in ("config.json", "summary.json"))
    return {"settings": settings, "weights": {name: summary[name] for name in ("backbone", "cnn")}}
