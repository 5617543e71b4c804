"""Pools on a real Ray of several nodes with logical GPUs: where actors lie, that they wait for GPUs, that they grow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

pytestmark = pytest.mark.starts_ray

SETUP = """
import contextlib, os, time, traceback
from concurrent.futures import ThreadPoolExecutor
import pyarrow as pa
import ray
from ray.cluster_utils import Cluster as Nodes
from datus2_ray.engine.pools import plan_pool
from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.engine.heartbeat import Heartbeat, _counter_of
from datus2_ray.engine.machines import Machines, choose_device
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.ray_private import quick_start, without_side_actors
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.engine.stage import Operator
from ray.util import list_named_actors

# What a local Ray does without must be there on the cluster that the same process connects to later.
with quick_start():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
without_side_actors()
ray.shutdown()

GIB = 2**30
nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "memory": 3 * GIB, "object_store_memory": 10**8})
ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
configure_ray_data(120)


class Where:
    def __init__(self, seconds):
        self.seconds = seconds
        here = ray.get_runtime_context()
        cards = sorted(here.get_accelerator_ids()["GPU"])
        self.row = {"node": [here.get_node_id()], "pid": [os.getpid()], "gpus": [",".join(cards)]}

    def __call__(self, block):
        time.sleep(self.seconds)
        return pa.table({"part": block["part"], **self.row})


def passed(block):
    return block


def stream(device, pools, seconds, parts, processes=None, **wanted):
    machines = Machines.now()
    pool = plan_pool(machines, choose_device(machines, device), DiscoverConfig(**wanted), pools, parts, 10_000)
    operators = [*[Operator(Where, pool, (seconds,))] * pools, Operator(passed)]
    rows = []
    streamed = stream_parts([{"part": f"{i:03d}"} for i in range(parts)], lambda heartbeat: operators)
    for row in streamed:
        rows.append(row)
        # As many are enough, however long they take to start; a few rows more show that there are no others.
        if processes and len({row["pid"] for row in rows[:-10]}) >= processes:
            streamed.close()
            return pool, rows
    assert sorted(row["part"] for row in rows) == [f"{i:03d}" for i in range(parts)]
    return pool, rows


@contextlib.contextmanager
def joined(number=2, **has):
    node = nodes.add_node(object_store_memory=10**8, **has)
    nodes.wait_for_nodes()
    assert len(Machines.now().nodes) == number
    try:
        yield node.node_id
    finally:
        nodes.remove_node(node)
        while len(Machines.now().nodes) == number:
            time.sleep(0.1)

"""

#: In one cluster, one after another: each starts with the head alone and leaves it alone.
SCRIPTS = {
    "actors wait for gpus that a cluster has not started yet": """
assert Machines.now().joined
with ThreadPoolExecutor(1) as threads:  # a node can only be added from the main thread
    running = threads.submit(stream, "cuda", 2, 0.1, 6)
    time.sleep(3)
    assert not running.done()
    with joined(num_cpus=1, num_gpus=1, memory=3 * GIB) as gpu:
        pool, rows = running.result()
assert (pool.min_actors, pool.device, pool.num_gpus) == (1, "cuda", 0.5), pool
assert {row["node"] for row in rows} == {gpu}
""",
    "a heartbeat's counter lies beside the driver, and no other node takes it along": """
with joined(num_cpus=8, memory=20 * GIB):
    heartbeats = []
    for _ in range(6):
        _counter_of.cache_clear()  # a counter each: where they lie must not be chance
        heartbeats.append(Heartbeat())
    for heartbeat in heartbeats:
        heartbeat.beat()
    assert [heartbeat.beats() for heartbeat in heartbeats] == [1] * 6
assert [heartbeat.beats() for heartbeat in heartbeats] == [1] * 6
""",
    "gpu actors lie on gpu nodes only, several on a card": """
with joined(num_cpus=1, num_gpus=2, memory=3 * GIB) as gpu:
    pool, rows = stream("auto", 2, 0.1, 8, actors=2, gpus_per_actor=0.25)
assert (pool.min_actors, pool.device, pool.num_gpus) == (2, "cuda", 0.25), pool
assert {row["node"] for row in rows} == {gpu}
assert {row["gpus"] for row in rows} <= {"0", "1"}
""",
    "on a cpu every actor lies where its memory fits": """
with joined(num_cpus=1, memory=5 * GIB):
    pool, rows = stream("auto", 1, 0.3, 24, actors=3)
assert (pool.min_actors, pool.device, pool.memory) == (3, "cpu", 2 * GIB), pool
lie = {}
for row in rows:
    lie.setdefault(row["node"], set()).add(row["pid"])
assert sum(len(pids) for pids in lie.values()) == 3, lie
assert sorted(len(pids) for pids in lie.values()) == [1, 2], lie
""",
    "a process that used a local Ray before starts what Ray Data needs on a cluster": """
started = {actor["name"] for actor in list_named_actors(all_namespaces=True)}
assert {"ActorLocationTracker", "AutoscalingCoordinator"} <= started, started
""",
    "a pool grows while it has work": """
pool, rows = stream("cpu", 1, 0.1, 10, actors=1, max_actors=1)
assert len({row["pid"] for row in rows}) == 1
with joined(num_cpus=4, memory=20 * GIB):
    pool, rows = stream("cpu", 1, 0.3, 300, processes=2, actors=1, max_actors=2)
assert (pool.min_actors, pool.max_actors) == (1, 2), pool
assert len({row["pid"] for row in rows}) == 2
""",
    "a new connection to a cluster has a counter of its own": """
ray.shutdown()
ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
heartbeat = Heartbeat()
heartbeat.beat()
assert heartbeat.beats() == 1
""",
}

#: Says of every script that it passed, or what went wrong, and goes on with the next.
REPORT = """
try:
    exec({script!r})
    print({passed!r}, flush=True)
except BaseException:
    traceback.print_exc()
"""


@pytest.fixture(scope="module")
def ran() -> Iterator[subprocess.CompletedProcess[str]]:
    """Run all scripts in one cluster: its start takes longer than what is done in it."""
    lines = [REPORT.format(script=script, passed=f"PASSED {name}") for name, script in SCRIPTS.items()]
    # Short, for the path of a socket; its own, so that no other Ray of this machine takes this cluster for the latest.
    with TemporaryDirectory(prefix="d2", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        environment = {**os.environ, "RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"}
        environment.pop("RAY_ADDRESS", None)
        yield subprocess.run(
            [sys.executable, "-c", SETUP + "".join(lines) + "ray.shutdown(); nodes.shutdown()"],
            capture_output=True, text=True, check=False, timeout=600, env=environment,
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_on_a_cluster(ran: subprocess.CompletedProcess[str], name: str) -> None:
    assert f"PASSED {name}\n" in ran.stdout, ran.stdout + ran.stderr
