"""Pools: as large as the machines or the user says, placeable at once, or refused with what to change."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.engine.machines import ACTOR_MEMORY, LEAST_ACTOR_MEMORY, Machines, Node, choose_device
from datus2_ray.engine.pools import Pool, actors_on_a_gpu, plan_pool
from datus2_ray.errors import DatusError

GIB = 2**30


def machine(cpus: int, gpus: int = 0, memory: float = 93) -> Machines:
    return Machines((Node(cpus, gpus, int(memory * GIB)),))


def planned(
    machines: Machines, pools: int, parts: int, device: str = "auto", images: int = 10_000, **wanted: Any
) -> Pool:
    return plan_pool(machines, choose_device(machines, device), DiscoverConfig(**wanted), pools, parts, images)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("machines", "pools", "parts", "wanted", "pool"),
    [
        (machine(2), 2, 9, {}, Pool(2, 2, "cpu")),  # one a CPU, and none of it reserved
        (machine(1), 2, 9, {}, Pool(1, 1, "cpu")),
        (machine(64, memory=16), 2, 99, {}, Pool(4, 4, "cpu")),  # as far as memory allows
        (machine(2, memory=1), 2, 99, {}, Pool(1, 1, "cpu")),  # one is tried on any machine
        (machine(8), 1, 3, {}, Pool(3, 3, "cpu")),  # none that would never see a part
        (machine(8), 1, 9, {"images": 24}, Pool(1, 1, "cpu")),  # none that starts longer than it works
        (machine(8), 1, 9, {"images": 25}, Pool(2, 2, "cpu")),
        (machine(8), 1, 9, {"images": 8, "actors": 5}, Pool(5, 5, "cpu")),
        (machine(8, gpus=4), 1, 9, {"images": 8}, Pool(4, 4, "cuda", 1.0)),
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
def test_pools_fit_the_machines(machines: Machines, pools: int, parts: int, wanted: dict[str, Any], pool: Pool) -> None:
    assert planned(machines, pools, parts, **wanted) == pool


def test_a_cpu_pool_stays_on_the_cpu_of_a_machine_with_gpus() -> None:
    assert planned(machine(2, gpus=4), 2, 9, device="cpu") == Pool(2, 2, "cpu")


@settings(max_examples=400)
@given(
    machines=st.builds(machine, st.integers(1, 64), st.integers(0, 8), st.sampled_from((1, 4, 16, 93))),
    pools=st.integers(1, 3),
    parts=st.integers(1, 99),
    actors=st.none() | st.integers(1, 30),
    growth=st.none() | st.integers(0, 20),
    share=st.none() | st.sampled_from((0.01, 0.1, 0.25, 0.3, 0.34, 0.5, 1.0)),
    device=st.sampled_from(("auto", "cpu")),
)
def test_a_plan_can_be_placed_at_once_or_its_refusal_names_one_that_can(
    machines: Machines,
    pools: int,
    parts: int,
    actors: int | None,
    growth: int | None,
    share: float | None,
    device: str,
) -> None:
    max_actors = None if growth is None else (actors or 1) + growth
    wanted: dict[str, Any] = {"actors": actors, "max_actors": max_actors, "gpus_per_actor": share}
    refusal = None
    try:
        pool = planned(machines, pools, parts, device, **wanted)
    except DatusError as error:
        refusal = re.search(r"set discover\.(\w+) to at most ([\d.]+\d|\d)", str(error))
        assert refusal, error  # noqa: PT017
    if refusal:
        name, limit = refusal.groups()
        accepted = wanted | {name: float(limit) if name == "gpus_per_actor" else int(limit)}
        if name != "gpus_per_actor":
            accepted["actors" if name == "max_actors" else "max_actors"] = None
        pool = planned(machines, pools, parts, device, **accepted)
    assert 1 <= pool.min_actors <= pool.max_actors
    assert pool.max_actors <= max(parts, pool.min_actors)
    if pool.device == "cuda":
        assert actors_on_a_gpu(pool.num_gpus) * machines.gpus >= pool.min_actors * pools
    elif actors is not None and pool.max_actors > 1:
        assert pool.max_actors * pools * LEAST_ACTOR_MEMORY <= machines.memory


@pytest.mark.parametrize(
    ("share", "actors"), [(1.0, 1), (0.5, 2), (0.34, 2), (0.3, 3), (0.25, 4), (0.1, 10), (0.01, 100)]
)
def test_an_actor_lies_on_one_gpu(share: float, actors: int) -> None:
    assert actors_on_a_gpu(share) == actors


def test_where_gpus_are_yet_to_come_the_pools_ask_for_them() -> None:
    empty = Machines((Node(4, 0, 16 * GIB),), joined=True)
    assert planned(empty, 2, 99, device="cuda") == Pool(1, 1, "cuda", 0.5)
    assert planned(empty, 2, 99, device="cuda", actors=2, max_actors=8) == Pool(2, 8, "cuda", 0.5)
    assert planned(empty, 1, 99, device="cuda", max_actors=8, gpus_per_actor=0.25) == Pool(1, 8, "cuda", 0.25)


def test_on_several_nodes_an_actor_reserves_its_memory_and_fits_on_one_of_them() -> None:
    nodes = Machines((Node(8, 0, 7 * GIB), Node(8, 0, 7 * GIB), Node(0, 0, 64 * GIB)), joined=True)
    assert planned(nodes, 2, 99) == Pool(3, 3, "cpu", 0.0, ACTOR_MEMORY)  # three on each; none where no CPU is
    with pytest.raises(DatusError, match=r"2 pools of 4 actors .* 2 nodes; set discover\.actors to at most 3"):
        planned(nodes, 2, 99, actors=4)
    with pytest.raises(DatusError, match="give nodes with more memory"):
        planned(Machines((Node(8, 0, GIB), Node(8, 0, GIB))), 1, 9)


@pytest.mark.parametrize(
    ("machines", "pools", "wanted", "message"),
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
    machines: Machines, pools: int, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatusError, match=message):
        planned(machines, pools, 999, **wanted)


def test_what_the_refusals_propose_is_accepted() -> None:
    assert planned(machine(8, gpus=2), 2, 999, actors=2, gpus_per_actor=0.5).min_actors == 2
    assert planned(machine(8, gpus=1), 2, 999, gpus_per_actor=0.5).min_actors == 1
    assert planned(machine(8, gpus=1), 2, 999, actors=50) == Pool(50, 50, "cuda", 0.01)
    assert planned(machine(2, memory=4), 2, 999, actors=2).min_actors == 2


def test_a_pool_does_not_grow_below_its_start() -> None:
    with pytest.raises(ValidationError, match="max_actors = 2 must not be below actors = 3"):
        DiscoverConfig(actors=3, max_actors=2)
