"""How K is scored: as the whole set will be clustered."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.stages.sample.scores import CLUSTERINGS, Score, mean_scores, score
from datus2_ray.store import schemas


def make_sample(shared: float) -> pa.Table:
    """Give 20 images of four segments each, seen twice, whose descriptors have a part that all share."""
    random = np.random.default_rng(0)
    kinds = random.normal(size=(5, 16))
    quadrants = np.kron([[0, 1], [2, 3]], np.ones((2, 2), dtype=np.int16)).astype(np.int16)
    rows = []
    for number in range(20):
        chosen = random.integers(5, size=4)
        views = [
            kinds[chosen] + random.normal(scale=0.6, size=(4, 16)),
            kinds[chosen] + random.normal(scale=0.6, size=(4, 16)),
        ]
        rows.append({
            "image_id": str(number), "grid_height": 4, "grid_width": 4, "patch_map": quadrants.ravel().tolist(),
            # The second view is mirrored: its map is turned back when it is read.
            "mirrored_patch_map": quadrants[:, ::-1].ravel().tolist(),
            "descriptors": (views[0] + shared).astype(np.float32).tolist(),
            "mirrored_descriptors": (views[1] + shared).astype(np.float32).tolist(),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schemas.sample(16))


def scores(shared: float, counts: tuple[int, ...], scaling: str) -> list[Score]:
    config = ClusterConfig(metric="spherical", scaling=scaling, fine=None, pca=None, whitening=0.0)
    return mean_scores([score(make_sample(shared), counts, config, seed) for seed in range(CLUSTERINGS)])


@pytest.mark.parametrize("counts", [(5,), (3, 5, 8)])
def test_what_all_descriptors_share_says_nothing_where_it_is_taken_off(counts: tuple[int, ...]) -> None:
    alone, beside = (scores(shared, counts, "centred") for shared in (0.0, 64.0))
    assert [one.clusters for one in alone] == list(counts)
    for one, other in zip(alone, beside, strict=True):
        assert other.agreement == pytest.approx(one.agreement, abs=1e-3)
    shifted = scores(64.0, counts, "none")
    of_five = counts.index(5)
    assert shifted[of_five].total != pytest.approx(beside[of_five].total, abs=1e-2)


def test_the_number_of_kinds_scores_highest() -> None:
    totals = {one.clusters: one.total for one in scores(0.0, (3, 4, 5, 6, 7, 8), "centred")}
    assert max(totals, key=totals.__getitem__) == 5


def test_the_mean_is_taken_for_each_number_of_clusters() -> None:
    first, second = [Score(4, 0.5, 0.1), Score(5, 0.2, 0.0)], [Score(4, 0.7, 0.3), Score(5, 0.4, 0.2)]
    assert [
        (one.clusters, pytest.approx(one.agreement), pytest.approx(one.silhouette))
        for one in mean_scores([first, second])
    ] == [
        (4, 0.6, 0.2),
        (5, 0.3, 0.1),
    ]
    assert mean_scores([[], []]) == []
