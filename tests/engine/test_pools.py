"""Pools: as large as the cluster or the user says, always placeable, refused with what to change where they are not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.engine.machines import ACTOR_MEMORY, Cluster, Node, choose_device
from datus2_ray.engine.pools import Pool, actors_on_a_gpu, plan_pool
from datus2_ray.errors import DatusError

GIB = 2**30


def machine(cpus: int, gpus: int = 0, memory: float = 93) -> Cluster:
    return Cluster((Node(cpus, gpus, int(memory * GIB)),))


def planned(cluster: Cluster, pools: int, parts: int, device: str = "auto", **wanted: Any) -> Pool:
    return plan_pool(cluster, choose_device(cluster, device), DiscoverConfig(**wanted), pools, parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cluster", "pools", "parts", "wanted", "pool"),
    [
        (machine(2), 2, 9, {}, Pool(2, 2, "cpu")),  # one a CPU, and none of it reserved
        (machine(1), 2, 9, {}, Pool(1, 1, "cpu")),
        (machine(64, memory=16), 2, 99, {}, Pool(4, 4, "cpu")),  # as far as memory allows
        (machine(2, memory=1), 2, 99, {}, Pool(1, 1, "cpu")),  # one is tried on any machine
        (machine(8), 1, 3, {}, Pool(3, 3, "cpu")),  # none that would never see a part
        (machine(8), 1, 9, {"actors": 5}, Pool(5, 5, "cpu")),
        (machine(8), 1, 99, {"actors": 2, "max_actors": 6}, Pool(2, 6, "cpu")),
        (machine(8), 1, 4, {"actors": 2, "max_actors": 6}, Pool(2, 4, "cpu")),
        (machine(8), 1, 99, {"max_actors": 3}, Pool(3, 3, "cpu")),
        (machine(2), 1, 99, {"max_actors": 3}, Pool(2, 3, "cpu")),
        (machine(8, gpus=4), 1, 99, {}, Pool(4, 4, "cuda", 1.0)),
        (machine(8, gpus=1), 2, 99, {}, Pool(1, 1, "cuda", 0.5)),
        (machine(8, gpus=1), 2, 99, {"actors": 3}, Pool(3, 3, "cuda", 0.16)),
        (machine(8, gpus=1), 1, 99, {"actors": 4, "gpus_per_actor": 0.25}, Pool(4, 4, "cuda", 0.25)),
        (machine(8, gpus=4), 2, 99, {"gpus_per_actor": 1}, Pool(2, 2, "cuda", 1.0)),
        (machine(8, gpus=2), 2, 99, {"max_actors": 16, "gpus_per_actor": 0.1}, Pool(2, 16, "cuda", 0.1)),
    ],
)
def test_pools_fit_the_cluster(cluster: Cluster, pools: int, parts: int, wanted: dict[str, Any], pool: Pool) -> None:
    assert planned(cluster, pools, parts, **wanted) == pool


def test_a_cpu_pool_stays_on_the_cpu_of_a_machine_with_gpus() -> None:
    assert planned(machine(2, gpus=4), 2, 9, device="cpu") == Pool(2, 2, "cpu")


@pytest.mark.parametrize("gpus", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("pools", [1, 2])
@pytest.mark.parametrize("actors", [None, 1, 3, 5, 16])
def test_all_actors_of_all_pools_can_be_placed_at_once(gpus: int, pools: int, actors: int | None) -> None:
    pool = planned(machine(8, gpus), pools, 99, actors=actors)
    assert actors_on_a_gpu(pool.num_gpus) * gpus >= pool.least * pools


@pytest.mark.parametrize(
    ("share", "actors"), [(1.0, 1), (0.5, 2), (0.34, 2), (0.3, 3), (0.25, 4), (0.1, 10), (0.01, 100)]
)
def test_an_actor_lies_on_one_gpu(share: float, actors: int) -> None:
    assert actors_on_a_gpu(share) == actors


def test_where_gpus_are_yet_to_come_the_pools_ask_for_them() -> None:
    empty = Cluster((Node(4, 0, 16 * GIB),), joined=True)
    assert planned(empty, 2, 99, device="cuda") == Pool(1, 1, "cuda", 0.5)
    assert planned(empty, 2, 99, device="cuda", actors=2, max_actors=8) == Pool(2, 8, "cuda", 0.5)
    assert planned(empty, 1, 99, device="cuda", max_actors=8, gpus_per_actor=0.25) == Pool(1, 8, "cuda", 0.25)


def test_on_several_nodes_an_actor_reserves_its_memory_and_fits_on_one_of_them() -> None:
    nodes = Cluster((Node(8, 0, 7 * GIB), Node(8, 0, 7 * GIB), Node(0, 0, 64 * GIB)), joined=True)
    assert planned(nodes, 2, 99) == Pool(3, 3, "cpu", 0.0, ACTOR_MEMORY)  # three on each; none where no CPU is
    with pytest.raises(DatusError, match=r"2 pools of 4 actors .* 2 nodes; set discover\.actors to at most 3"):
        planned(nodes, 2, 99, actors=4)
    with pytest.raises(DatusError, match="give nodes with more memory"):
        planned(Cluster((Node(8, 0, GIB), Node(8, 0, GIB))), 1, 9)


@pytest.mark.parametrize(
    ("cluster", "pools", "wanted", "message"),
    [
        (machine(8, gpus=2), 2, {"actors": 3, "gpus_per_actor": 0.5}, r"on 2 GPUs; set discover\.actors to at most 2"),
        (machine(8, gpus=1), 2, {"gpus_per_actor": 1}, r"set discover\.gpus_per_actor to at most 0\.5"),
        (machine(8, gpus=1), 2, {"actors": 51}, r"set discover\.actors to at most 50"),
        (machine(2, memory=4), 2, {"actors": 50}, r"set discover\.actors to at most 2"),
        (machine(2, memory=4), 2, {"max_actors": 50}, r"set discover\.max_actors to at most 2"),
        (machine(0, gpus=1), 1, {}, "no CPU for tasks"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_change(
    cluster: Cluster, pools: int, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatusError, match=message):
        planned(cluster, pools, 999, **wanted)


def test_what_the_refusals_propose_is_accepted() -> None:
    assert planned(machine(8, gpus=2), 2, 999, actors=2, gpus_per_actor=0.5).least == 2
    assert planned(machine(8, gpus=1), 2, 999, gpus_per_actor=0.5).least == 1
    assert planned(machine(8, gpus=1), 2, 999, actors=50) == Pool(50, 50, "cuda", 0.01)
    assert planned(machine(2, memory=4), 2, 999, actors=2).least == 2


def test_a_pool_does_not_grow_below_its_start() -> None:
    with pytest.raises(ValidationError, match="max_actors = 2 must not be below actors = 3"):
        DiscoverConfig(actors=3, max_actors=2)
