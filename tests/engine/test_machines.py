"""What a cluster has, told the same before and after Ray starts, and where a run computes on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import ray

from datus2_ray.engine.machines import Cluster, Node, choose_device, require_cpu
from datus2_ray.errors import DatusError

MIXED = Cluster((Node(8, 0, 32), Node(4, 2, 16)), joined=True)


def test_the_nodes_that_live_are_counted_with_their_whole_units(
    ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "memory": 32.5, "node:10.0.0.1": 1.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}},
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0, "memory": 16.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    cluster = Cluster.now()
    assert cluster.nodes == MIXED.nodes
    assert (cluster.cpus, cluster.gpus, cluster.memory) == (12, 2, 48)
    assert not cluster.joined  # the tests' own Ray


COMPARE = """
import json, logging, ray
from datus2_ray.engine.machines import Cluster
before = Cluster.of_this_machine()
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
after = Cluster.now()
print(json.dumps([[c.cpus, c.gpus, c.memory, c.joined, len(c.nodes)] for c in (before, after)]))
"""


def test_before_ray_starts_this_machine_has_what_ray_will_say() -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPARE], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    before, after = json.loads(ran.stdout.splitlines()[-1])
    assert before[:2] == after[:2]
    assert before[2] == pytest.approx(after[2], rel=0.5)  # what is free changes from second to second
    assert before[3:] == after[3:] == [False, 1]


@pytest.mark.parametrize(
    ("cluster", "wanted", "device"),
    [
        (MIXED, "auto", "cuda"),
        (MIXED, "cpu", "cpu"),
        (Cluster((Node(2, 0, 1),)), "auto", "cpu"),
        (Cluster((Node(2, 0, 1),), joined=True), "auto", "cpu"),
        (Cluster((Node(2, 0, 1),), joined=True), "cuda", "cuda"),  # its autoscaler may start some
    ],
)
def test_the_device_is_the_users_or_what_there_is(cluster: Cluster, wanted: str, device: str) -> None:
    assert choose_device(cluster, wanted) == device  # type: ignore[arg-type]


def test_what_a_machine_lacks_is_refused() -> None:
    with pytest.raises(DatusError, match="Ray sees no GPU on this machine"):
        choose_device(Cluster((Node(2, 0, 1),)), "cuda")
    with pytest.raises(DatusError, match="no CPU for tasks"):
        require_cpu(Cluster((Node(0, 1, 1),)))
