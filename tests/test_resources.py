from __future__ import annotations

import pytest
import ray

from datus2_ray.errors import DatusError
from datus2_ray.resources import Pool, plan_pool


def on(monkeypatch: pytest.MonkeyPatch, **resources: float) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)


@pytest.mark.parametrize(
    ("resources", "arguments", "pool"),
    [
        ({"CPU": 2, "memory": 2e10}, (None, 2, 9), Pool(2, "cpu", 0.0)),  # one a CPU, and none of it reserved
        ({"CPU": 64, "memory": 17e9}, (None, 2, 99), Pool(3, "cpu", 0.0)),  # as far as memory allows
        ({"CPU": 8, "memory": 1e11}, (None, 1, 3), Pool(3, "cpu", 0.0)),  # none that would never see a part
        ({"CPU": 8, "memory": 1e11}, (5, 1, 9), Pool(5, "cpu", 0.0)),  # as the user says
        ({"CPU": 8, "GPU": 4, "memory": 1e11}, (None, 1, 99), Pool(4, "cuda", 1.0)),
        ({"CPU": 8, "GPU": 1, "memory": 1e11}, (None, 2, 99), Pool(1, "cuda", 0.5)),
    ],
)
def test_pools_fit_the_cluster(
    monkeypatch: pytest.MonkeyPatch, resources: dict[str, float], arguments: tuple[int | None, int, int], pool: Pool
) -> None:
    on(monkeypatch, **resources)
    assert plan_pool(*arguments) == pool


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("pools", [1, 2])
@pytest.mark.parametrize("actors", [None, 1, 3, 5, 16])
def test_all_actors_of_all_pools_can_be_placed_at_once(
    monkeypatch: pytest.MonkeyPatch, gpus: int, pools: int, actors: int | None
) -> None:
    on(monkeypatch, CPU=8, GPU=gpus, memory=1e11)
    pool = plan_pool(actors, pools, parts=99)
    assert int(1 / pool.num_gpus) * gpus >= pool.actors * pools


def test_a_cluster_without_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, GPU=1)
    with pytest.raises(DatusError, match="no CPU for tasks"):
        plan_pool(None, 1, 1)
