"""How a resolution and K are scored: as the whole set will be clustered."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.stages.sample.scores import score
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
            "image_id": str(number), "grid_height": 4, "grid_width": 4, "segments": [4, 4],
            # The second view is mirrored: its map is turned back when it is read.
            "patch_maps": [*quadrants.ravel().tolist(), *quadrants[:, ::-1].ravel().tolist()],
            "descriptors": (np.concatenate(views) + shared).astype(np.float32).tolist(),
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schemas.sample(16))


@pytest.mark.parametrize("counts", [(5,), (3, 5, 8)])
def test_what_all_descriptors_share_says_nothing_where_it_is_taken_off(counts: tuple[int, ...]) -> None:
    centred = ClusterConfig(metric="spherical", scaling="centred", fine=None)
    alone, beside = (score(make_sample(shared), (1.0,), 1.0, counts, centred) for shared in (0.0, 64.0))
    assert [one.clusters for one in alone] == list(counts)
    for one, other in zip(alone, beside, strict=True):
        assert other.agreement == pytest.approx(one.agreement, abs=1e-3)
    as_they_are = ClusterConfig(metric="spherical", scaling="none", fine=None)
    of_five = counts.index(5)
    shifted = score(make_sample(64.0), (1.0,), 1.0, counts, as_they_are)[of_five]
    assert shifted.total != pytest.approx(beside[of_five].total, abs=1e-2)
