"""A local Ray as the commands start it: threads capped in every process, and no other cluster joined by chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from datus2_ray.engine.session import joined_address

THREADS = """
import json
import numpy as np
import pyarrow as pa
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.session import start_ray
from datus2_ray.engine.parts import map_parts, stream_parts

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

start_ray(no_progress_seconds=120)
rows = stream_parts(
    [{"part": "a"}], lambda source, _: map_parts(map_parts(source, task), Actor, Pool(1, 1, "cpu"))
)
print(json.dumps(list(rows)))
"""


@pytest.mark.parametrize("own", [None, "8"])
def test_every_task_and_actor_has_one_thread_whatever_the_users_shell_says(own: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "RAY_ADDRESS")}
    if own is not None:
        environment["OMP_NUM_THREADS"] = own
    ran = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, timeout=180, env=environment
    )
    assert json.loads(ran.stdout.splitlines()[-1]) == [{"part": "a", "task": 1, "actor": 1}]


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
