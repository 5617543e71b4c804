"""A fit in one process: a task that starts again if its process dies, and ends if nothing moves."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from datus2_ray.engine.training.alone import run_alone
from datus2_ray.engine.training.job import Job
from datus2_ray.errors import DatusError
from tests.processes import processes_titled

#: What the loops below write their process to.
PIDS = "pids"


def fit(loop: Any, folder: Path, patience: int = 60) -> tuple[dict[str, Any], list[int]]:
    """Fit by a loop; return what it returned and the steps that were shown."""
    shown: list[int] = []
    job = Job("em", partial(loop, str(folder)), None, 3, "give fewer workers", None, None)
    return run_alone(job, "cpu", patience, shown.append), shown


def note(folder: str) -> list[int]:
    """Note this process in the folder and return all that were noted there."""
    with Path(folder, PIDS).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return [int(line) for line in Path(folder, PIDS).read_text().splitlines()]


def once(folder: str, config: dict[str, Any]) -> dict[str, Any]:
    config["watcher"].tick(2)
    return {"pids": note(folder)}


def dies_once(folder: str, config: dict[str, Any]) -> dict[str, Any]:
    if len(note(folder)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def hangs(folder: str, config: dict[str, Any]) -> None:
    note(folder)
    time.sleep(600)


def breaks(folder: str, config: dict[str, Any]) -> None:
    raise DatusError("the layer did not learn; give more images")


def ticks_on(folder: str, config: dict[str, Any]) -> dict[str, Any]:
    for step in range(12):
        config["watcher"].tick(step)
        time.sleep(0.5)
        if step == 3:
            processes_titled("_Counter", int(config["plan"]))[-1].kill()
    return {}


@pytest.fixture
def folder(ray_session: None, tmp_path: Path) -> Path:
    return tmp_path


def test_fits_one_after_the_other_share_a_process(folder: Path) -> None:
    for _ in range(20):  # a task that ends is never cancelled: Ray would end the driver now and then
        found, shown = fit(once, folder)
    assert len(found["pids"]) == 20
    assert len(set(found["pids"])) < 10
    assert shown[-1] == 3


def test_a_process_that_dies_is_followed_by_another(folder: Path) -> None:
    fit(dies_once, folder)
    assert len(set(note(str(folder))) - {os.getpid()}) == 2


def test_a_fit_that_hangs_ends_with_its_process(folder: Path) -> None:
    with pytest.raises(DatusError, match=r"em: no optimiser step for 2 s \(step 0 of 3\).*give fewer workers"):
        fit(hangs, folder, patience=2)
    (process, *_) = note(str(folder))
    end = time.monotonic() + 30
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_a_fit_raises_is_raised(folder: Path) -> None:
    with pytest.raises(DatusError, match=r"^the layer did not learn; give more images$"):
        fit(breaks, folder)


def test_the_death_of_what_counts_is_not_the_fit_s(folder: Path) -> None:
    job = Job("em", partial(ticks_on, str(folder)), os.getpid(), 12, "", None, None)
    assert run_alone(job, "cpu", 60, lambda step: None) == {}
    assert ray.is_initialized()
