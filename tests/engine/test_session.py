"""A local Ray as the commands start it: what it has is known before, and each of its processes uses one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from datus2_ray.engine.session import joined_address

pytestmark = pytest.mark.starts_ray

START = """
import json
import os
import signal
import time
import numpy as np
import pyarrow as pa
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.session import look_at_machines, start_ray
from datus2_ray.engine.stage import Operator

def count():
    import scipy.linalg, sklearn, torch
    from threadpoolctl import threadpool_info
    np.ones((64, 64)) @ np.ones((64, 64))
    return max(torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info()))

def task(block):
    return block.append_column("task", pa.array([count()]))

class Actor:
    def __call__(self, block):
        return block.append_column("actor", pa.array([count()]))

before = look_at_machines(120)
start_ray(120)
pair = before, Machines.now()
machines = [[found.cpus, found.gpus, found.memory, found.joined, len(found.nodes)] for found in pair]
rows = list(stream_parts([{"part": "a"}], lambda _: [Operator(task), Operator(Actor, Pool(1, 1, "cpu"))]))
print(json.dumps([machines, rows]), flush=True)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture(scope="module")
def started() -> subprocess.CompletedProcess[str]:
    """Start Ray in a process of its own, whose user's shell asks for eight threads."""
    environment = {**os.environ, "OMP_NUM_THREADS": "8"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True, timeout=180, env=environment
    )


def printed(started: subprocess.CompletedProcess[str]) -> tuple[list[list[Any]], list[dict[str, Any]]]:
    machines, rows = json.loads(started.stdout.splitlines()[-2])
    return machines, rows


def test_every_task_and_actor_has_one_thread_whatever_the_users_shell_says(started: Any) -> None:
    assert printed(started)[1] == [{"part": "a", "task": 1, "actor": 1}]


def test_before_ray_starts_this_machine_has_what_ray_will_say(started: Any) -> None:
    before, after = printed(started)[0]
    assert before[:2] == after[:2]
    assert before[2] == pytest.approx(after[2], rel=0.5)  # what is free changes from second to second
    assert before[3:] == after[3:] == [False, 1]


def test_a_termination_ends_as_an_interrupt_does_without_a_trace_of_rays(started: Any) -> None:
    assert started.stdout.splitlines()[-1] == "interrupted"
    assert "PC: @" not in started.stderr


@pytest.mark.parametrize(
    ("address", "joined"), [(None, None), ("", None), ("local", None), ("auto", "auto"), ("10.0.0.1:6379",) * 2]
)
def test_only_an_address_that_is_set_is_joined(
    monkeypatch: pytest.MonkeyPatch, address: str | None, joined: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert joined_address() == joined
