"""Baselines: spherical k-means on the patch tokens of the run's own forward pass, no graph and no segments.

Plain k-means beats the published figure of DatUS² on COCO, and k-means in many fine clusters, merged as those of the
segments are, beats plain k-means. Every report shows both beside ours: same tokens, same resolution, same scaling
(``cluster.scaling``), same K, same seed. What is merged passes the PCA that descriptors pass, too.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Placement, Stage, Whole
from datus2_ray.engine.uses import row_holders
from datus2_ray.store.facts import Discovered, TokensClustered

#: Fine clusters of the merged baseline of a run that merges nothing itself (``cluster.fine`` None).
FINE = 300

#: Lloyd iterations for the fine clusters, and tokens per fine cluster that k-means++ chooses from. On 100,000 tokens of
#: CamVid the inertia is then 0.7 % above where 126 iterations from 20,000 tokens converge, in a quarter of the time.
FINE_ITERATIONS, FINE_START = 20, 20


def _compute(run: Run, placement: Placement, progress: Progress) -> TokensClustered:
    from datus2_ray.core.cluster.kmeans import kmeans
    from datus2_ray.core.cluster.projection import add_pca, fit_projection
    from datus2_ray.core.cluster.rows import Widening
    from datus2_ray.engine.clustering.kmeans import build_tree, count_fine
    from datus2_ray.engine.clustering.rows import VectorTable, count_vectors, hold_rows
    from datus2_ray.engine.clustering.table import write_token_clusters

    config, tokens, k = run.config, run.commit(Discovered), run.required_k
    counts = count_vectors(tokens.uri, "patch_map", sorted(tokens.parts))
    progress.total = sum(counts.values())
    share = min(1.0, config.evaluate.token_sample / progress.total)
    table = VectorTable(tokens.uri, "tokens", share=share, seed=config.seed)
    table.check_memory(counts, run.machines)
    restarts, noun = config.evaluate.token_restarts, "patch tokens"
    with closing(hold_rows(table, counts, config.cluster.workers, progress.note_pass)) as rows:
        projection = fit_projection(rows, config.cluster.scaling, None)
        rows.project(Widening())
        result = kmeans(rows, k, metric="spherical", restarts=restarts, seed=config.seed, noun=noun)
        if config.cluster.pca is not None:
            projection = add_pca(rows, projection, config.cluster.pca, config.cluster.whitening)
        count = count_fine(rows, config.cluster.fine or FINE, k, "spherical")
        fine = kmeans(
            rows,
            count,
            metric="spherical",
            seed=config.seed,
            sample_size=FINE_START * count,
            max_iterations=FINE_ITERATIONS,
            noun=noun,
        )
        tree = build_tree(rows, fine, "spherical")
    write_token_clusters(placement.uri, result, fine, tree, projection)
    return TokensClustered(share, result.inertia, result.iterations, count)


def _decides(run: Run, device: Device) -> dict[str, Any]:
    config = run.config
    shared = {name: getattr(config.cluster, name) for name in ("scaling", "pca", "whitening", "fine")}
    return {**config.evaluate.identity(), "k": run.required_k, "seed": config.seed, **shared}


def _left_out(prospect: Prospect) -> str | None:
    if prospect.unscored is not None:
        return prospect.unscored
    return None if prospect.config.evaluate.token_kmeans else "switched off (evaluate.token_kmeans)"


BASELINE = Stage(
    facts=TokensClustered,
    title="Cluster patch tokens without segments, for comparison",
    writes={
        "centroids.parquet": "centroids of K clusters of tokens",
        "fine.parquet, tree.parquet": "centroids of fine clusters of tokens, and their merges",
        "scaling.parquet, pca.parquet": "what is done to tokens first, if anything; PCA only before they are merged",
    },
    version=4,
    reads=(Discovered,),
    decides=_decides,
    left_out=_left_out,
    uses=lambda prospect: [row_holders(prospect)],
    work=Whole(compute=_compute, unit="tokens"),
)
