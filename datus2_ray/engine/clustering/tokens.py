"""The patch tokens of a run's own forward pass as row blocks, for the baselines: all, or a sample of so many."""

from __future__ import annotations

from datus2_ray.engine.clustering.rows import OwnRows, RayRows, hold_rows
from datus2_ray.engine.clustering.vectors import VectorTable, count_vectors
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.store.facts import Discovered


def hold_tokens(run: Run, progress: Progress, most: int) -> tuple[OwnRows | RayRows, float]:
    """Hold about so many of the tokens at most, and set the progress' total to the number of all.

    Returns
    -------
    OwnRows or RayRows
        The same rows for every number of clusters.
    float
        Share of the tokens that they are.

    Raises
    ------
    DatusError
        If they do not fit into the machines' memory.
    """
    config, tokens = run.config, run.commit(Discovered)
    counts = count_vectors(tokens.uri, "patch_map", sorted(tokens.parts))
    progress.total = sum(counts.values())
    share = min(1.0, most / progress.total)
    table = VectorTable(tokens.uri, "tokens", share=share, seed=config.seed)
    return hold_rows(table, counts, config.cluster.workers, run.machines, progress.note_pass), share
