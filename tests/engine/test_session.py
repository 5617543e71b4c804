"""A local Ray as the commands start it: what it has is known before, and each of its processes uses one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.engine import session
from datus2_ray.engine.session import joined_address
from datus2_ray.errors import DatusError

pytestmark = pytest.mark.starts_ray

START = """
import json
import os
import signal
import tempfile
import time
import numpy as np
import pyarrow as pa
import psutil
import ray
from ray.util import list_named_actors
from datus2_ray.engine.machines import Machines
from datus2_ray.engine import parts, ray_private
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.session import look_at_machines, start_ray
from datus2_ray.engine.stage import Operator
from datus2_ray.errors import DatusError

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

parts.FEW = 0
before = look_at_machines(120)
start_ray(120)
pair = before, Machines.now()
titles = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
idle = [title for title in titles if any(name in title for name in ("monitor.py", "dashboard.py"))]
machines = [[found.cpus, found.gpus, found.memory, found.joined, len(found.nodes)] for found in pair]
rows = list(stream_parts([{"part": "a"}], lambda _: [Operator(task), Operator(Actor, Pool(1, 1, "cpu"))]))

def broken(block):
    raise ValueError("no\\ngood")

try:
    list(stream_parts([{"part": "a"}], lambda _: [Operator(broken)]))
except DatusError as error:
    actors = [actor["name"] for actor in list_named_actors(all_namespaces=True)]
    print(json.dumps([machines, rows, str(error), idle, actors]), flush=True)
@ray.remote(max_retries=1)
def dies(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os._exit(1)

with tempfile.TemporaryDirectory() as folder:
    ray.get(dies.remote(f"{folder}/died"))
time.sleep(1)  # Ray's message about it comes in a thread
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except KeyboardInterrupt:
    ray_private.shut_down()
    try:
        ray.put(1)
    except Exception:
        print("interrupted", ray.is_initialized())
"""


@pytest.fixture(scope="module")
def long_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose sockets would have longer names than the system allows."""
    return tmp_path_factory.mktemp("long") / ("a-name-that-is-long-" * 5)


@pytest.fixture(scope="module")
def started(long_folder: Path) -> subprocess.CompletedProcess[str]:
    """Start Ray in a process of its own, whose user's shell asks for eight threads, with a long temporary folder."""
    environment = {**os.environ, "OMP_NUM_THREADS": "8", "TMPDIR": str(long_folder)}
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=True, timeout=180, env=environment
    )


def printed(started: subprocess.CompletedProcess[str]) -> tuple[list[list[Any]], list[dict[str, Any]], str]:
    machines, rows, error, *_ = json.loads(started.stdout.splitlines()[-2])
    return machines, rows, error


def test_every_task_and_actor_has_one_thread_whatever_the_users_shell_says(started: Any) -> None:
    assert printed(started)[1] == [{"part": "a", "task": 1, "actor": 1}]


def test_before_ray_starts_this_machine_has_what_ray_will_say(started: Any) -> None:
    before, after = printed(started)[0]
    assert before[:2] == after[:2]
    assert before[2] == pytest.approx(after[2], rel=0.5)  # what is free changes from second to second
    assert before[3:] == after[3:] == [False, 1]


def test_a_temporary_folder_that_is_too_long_for_sockets_is_used_all_the_same(started: Any, long_folder: Path) -> None:
    assert list((long_folder / "ray").glob("session_*/sockets"))


def test_what_fails_is_one_line_and_no_trace_reaches_the_terminal(started: Any) -> None:
    assert printed(started)[2] == "a worker failed: ValueError: no good"
    assert started.stderr == ""


def test_a_local_ray_has_no_process_that_is_of_no_use(started: Any) -> None:
    idle, actors = json.loads(started.stdout.splitlines()[-2])[3:]
    assert idle == []
    assert actors == []  # Ray Data's are named: of statistics, of the division of nodes, of the places of actors


def test_a_folder_for_sockets_is_short_or_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = "/" + "a" * (session.MAX_FOLDER_BYTES - 1)
    assert session.short_folder(short) == short
    long, link = str(tmp_path / ("é" * 60)), session.short_folder(str(tmp_path / ("é" * 60)))
    assert len(link) <= session.MAX_FOLDER_BYTES
    assert Path(link).resolve() == Path(long).resolve()
    assert session.short_folder(long) == link
    Path(link).unlink()
    monkeypatch.setattr(session, "SHORT_FOLDERS", (tmp_path / "none",))
    with pytest.raises(DatusError, match="set RAY_TMPDIR to a folder of at most"):
        session.short_folder(long)
    (tmp_path / "file").touch()
    with pytest.raises(DatusError, match=r"Ray cannot work in .*set RAY_TMPDIR to another folder"):
        session.short_folder(f"{tmp_path}/file/{'a' * 60}")


def test_a_termination_ends_as_an_interrupt_does_without_a_trace_of_rays(started: Any) -> None:
    assert started.stdout.splitlines()[-1] == "interrupted False"
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
