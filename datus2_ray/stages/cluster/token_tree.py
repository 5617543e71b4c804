"""Token tree: patch tokens to fine clusters, and the tree that merges them, as those of the segments are merged.

One of the two baselines: k-means in many fine clusters of tokens, merged, beats plain k-means. The number of clusters K
is chosen later: runs that differ in it share the result, unless K is larger than the number of fine clusters.
What is merged passes the scaling and the PCA that descriptors pass.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import row_holders
from datus2_ray.store.facts import Discovered, TokensMerged

#: Fine clusters of a run that merges nothing itself (``cluster.fine`` None).
FINE = 300

#: Tokens per fine cluster of the sample that they are fitted on: with three times as many the masks score alike.
FINE_TOKENS = 100

#: Max Lloyd iterations, and tokens per fine cluster that k-means++ chooses from. The masks of 3, 5 and 10 iterations
#: score alike; 126 of them from 20,000 tokens end at an inertia 1.3 % below that of 10 (100,000 tokens of CamVid).
FINE_ITERATIONS, FINE_START = 5, 5


def _compute(run: Run, placement: Placement, progress: Progress) -> TokensMerged:
    """Group a sample of the tokens into fine clusters, and merge these, as often as there are votes.

    Raises
    ------
    UsageError
        If K is above the number of tokens.
    DatusError
        If a token is not finite, or the tokens do not fit into memory.
    """
    from datus2_ray.core.cluster.kmeans import kmeans
    from datus2_ray.core.cluster.projection import add_pca, fit_projection
    from datus2_ray.core.cluster.rows import Widening
    from datus2_ray.engine.clustering.kmeans import count_fine, gather_votes
    from datus2_ray.engine.clustering.table import write_token_tree
    from datus2_ray.engine.clustering.tokens import hold_tokens

    config = run.config.cluster
    held, share = hold_tokens(run, progress, _sample(run))
    with closing(held) as rows:
        projection = fit_projection(rows, config.scaling, None)
        rows.project(Widening())
        if config.pca is not None:
            projection = add_pca(rows, projection, config.pca, config.whitening)
        count = count_fine(rows, _fine(run), run.required_k, "spherical")
        fit = partial(
            kmeans,
            rows,
            count,
            metric="spherical",
            seed=run.config.seed,
            sample_size=FINE_START * count,
            max_iterations=FINE_ITERATIONS,
            noun="patch tokens",
        )
        results = rows.each(lambda number: fit(first_start=number), range(config.clusterings))
        votes = gather_votes(rows, results, "spherical")
    write_token_tree(placement.uri, results[0], votes, projection)
    return TokensMerged(count, share, results[0].inertia, results[0].iterations, len(votes))


def _fine(run: Run) -> int:
    """Return the number of fine clusters to find: as set, whatever K is, unless K is larger; else :data:`FINE`."""
    return max(run.config.cluster.fine or FINE, run.required_k)


def _sample(run: Run) -> int:
    """Return about how many tokens the fine clusters are fitted on at most."""
    return min(run.config.evaluate.token_sample, FINE_TOKENS * _fine(run))


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config
    shared = {name: getattr(config.cluster, name) for name in ("scaling", "pca", "whitening")}
    numbers = {"votes": config.cluster.clusterings, "fine": _fine(run), "token_sample": _sample(run)}
    return {**shared, **numbers, "seed": config.seed}


TOKEN_TREE = Stage(
    facts=TokensMerged,
    title="Group patch tokens into fine clusters, and merge these in a tree, for comparison",
    writes={
        "centroids.parquet": "centroids of fine clusters of tokens",
        "tree.parquet, votes.parquet": "as in cluster/",
        "scaling.parquet, pca.parquet": "what is done to tokens first, if anything",
    },
    version=3,
    reads=(Discovered,),
    decides=_decides,
    left_out=lambda prospect: prospect.uncompared,
    uses=lambda prospect: [row_holders(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
