"""What the driver is told of a training under Ray Train."""

from __future__ import annotations

import io

import pytest

from datus2_ray.engine.progress import Progress
from datus2_ray.engine.training.run import TrainingRun


@pytest.mark.parametrize("before", [0, 600])
def test_steps_between_two_questions_are_not_taken_for_steps_done_before(before: int) -> None:
    run, progress = TrainingRun(), Progress("refine", 1000, "steps", io.StringIO())
    assert run.status() == (0, 0)  # the workers start
    for step in (before, before + 1, before + 2):
        run.tick(step)
    for _ in range(2):
        progress.reach(run.status()[1])
    assert (progress.done, progress.done_before) == (before + 2, before)
