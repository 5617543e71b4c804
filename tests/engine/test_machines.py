"""What the machines of a Ray have, and where a run computes on them."""

from __future__ import annotations

import pytest
import ray

from datus2_ray.engine.machines import Machines, Node, choose_device, require_cpu
from datus2_ray.errors import DatusError

MIXED = Machines((Node(8, 0, 32), Node(4, 2, 16)), joined=True)


def test_the_nodes_that_live_are_counted_with_their_whole_units(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "memory": 32.5, "node:10.0.0.1": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}},
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0, "memory": 16.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    machines = Machines.now()
    assert machines.nodes == MIXED.nodes
    assert (machines.cpus, machines.gpus, machines.memory) == (12, 2, 48)
    assert not machines.joined  # the tests' own Ray


@pytest.mark.parametrize(
    ("machines", "wanted", "device"),
    [
        (MIXED, "auto", "cuda"),
        (MIXED, "cpu", "cpu"),
        (Machines((Node(2, 0, 1),)), "auto", "cpu"),
        (Machines((Node(2, 0, 1),), joined=True), "auto", "cpu"),
        (Machines((Node(2, 0, 1),), joined=True), "cuda", "cuda"),  # its autoscaler may start some
    ],
)
def test_the_device_is_the_users_or_what_there_is(machines: Machines, wanted: str, device: str) -> None:
    assert choose_device(machines, wanted) == device  # type: ignore[arg-type]


@pytest.mark.parametrize(("cpus", "workers", "threads"), [((8,), 1, 8), ((8,), 3, 2), ((4, 4, 2), 1, 4), ((1,), 2, 1)])
def test_workers_share_the_cpus_and_none_has_more_threads_than_a_node(
    cpus: tuple[int, ...], workers: int, threads: int
) -> None:
    assert Machines(tuple(Node(count, 0, 1) for count in cpus)).threads(workers) == threads


def test_what_a_machine_lacks_is_refused() -> None:
    with pytest.raises(DatusError, match="Ray sees no GPU on this machine"):
        choose_device(Machines((Node(2, 0, 1),)), "cuda")
    with pytest.raises(DatusError, match="no CPU for tasks"):
        require_cpu(Machines((Node(0, 1, 1),)))
