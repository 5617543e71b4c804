"""A driver that waits for Ray has a limit, and says for whom it waited and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from datus2_ray.engine.run import Run
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.engine.waiting import get_or_stall, run_tasks
from datus2_ray.errors import DatusError


@pytest.fixture(autouse=True)
def on_ray(open_run: Callable[..., Run], tmp_path: Path) -> None:
    open_run(tmp_path / "in")


def scale(shared: list[int], factor: int, seconds: float = 0.0) -> list[int]:
    time.sleep(seconds)
    if factor < 0:
        raise ValueError("a negative factor")
    return [factor * value for value in shared]


def test_tasks_share_an_object_and_their_results_come_in_order() -> None:
    # The first is the last to end.
    assert run_tasks(scale, [1, 2], [(3, 0.5), (4,), (5,)], "the scaling") == [[3, 6], [4, 8], [5, 10]]
    assert run_tasks(scale, [1, 2], [], "the scaling") == []


def test_a_task_that_fails_gives_one_line() -> None:
    with pytest.raises(DatusError) as caught:
        run_tasks(scale, [1], [(1,), (-1,)], "the scaling")
    assert str(caught.value) == "a worker failed: ValueError: a negative factor"


def test_what_does_not_answer_ends_with_its_reason() -> None:
    configure_ray_data(1)
    hung = ray.remote(scale).options(num_cpus=10_000).remote([1], 1)  # no machine has so many
    start = time.monotonic()
    with pytest.raises(DatusError, match=r"the scaling did not answer for 1 s; wait no more, .*no_progress_seconds=N"):
        get_or_stall([ray.put([1]), hung], "the scaling", "wait no more")
    assert time.monotonic() - start < 10
    ray.cancel(hung)


def test_slow_answers_that_come_one_by_one_are_no_stall() -> None:
    # First, processes for all of them: to start one takes seconds on a busy machine.
    ray.get([ray.remote(scale).remote([1], 1, 0.5) for _ in range(4)])
    configure_ray_data(2)
    answers = [ray.remote(scale).remote([1], 1, seconds) for seconds in (0.8, 1.6, 2.4, 3.2)]
    assert get_or_stall(answers, "the scaling", "wait no more") == [[1]] * 4
