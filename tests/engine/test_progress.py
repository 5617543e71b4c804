"""The progress line: its numbers are those of this attempt, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from datus2_ray.engine.progress import LOG_INTERVAL, Progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_rate_and_remaining_time_leave_out_what_was_done_before(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress("discover", 100_000, stream=stream, done_before=90_000, errors=2, clock=clock)
    clock.now += 20
    progress.advance(2000, errors=1)
    line = stream.getvalue()
    assert "92000/100000" in line
    assert "100.00 images/s" in line
    assert "00:20<01:20" in line  # 8,000 images are left
    assert "3 errors" in line
    clock.now += 80
    progress.advance(8000)
    assert progress.finish() == 100
    last = stream.getvalue().splitlines()[-1]
    assert last == "discover  100,000 images, 90,000 done before, 100.0 images/s, 3 errors, 100.0 s"


def test_a_resumed_training_counts_the_steps_after_its_checkpoint_only(clock: Clock) -> None:
    progress = Progress("refine", 1000, "steps", io.StringIO(), clock=clock)
    for step in (600, 600, 700):
        progress.reach(step)
    assert (progress.done, progress.done_before) == (700, 600)
    progress.reach(650)  # a worker that died begins at its checkpoint
    assert progress.done == 700
    fresh = Progress("refine", 1000, "steps", io.StringIO(), clock=clock)
    for step in (0, 3):
        fresh.reach(step)
    assert (fresh.done, fresh.done_before) == (3, 0)


def test_a_log_has_a_line_per_interval_and_a_terminal_rewrites_one(clock: Clock) -> None:
    log, terminal = io.StringIO(), Terminal()
    shown = [Progress("embed", 1000, stream=stream, clock=clock) for stream in (log, terminal)]
    for _ in range(31):
        clock.now += 1
        for progress in shown:
            progress.advance(1)
    assert len(log.getvalue().splitlines()) == 31 // LOG_INTERVAL
    assert "\r" not in log.getvalue()
    assert terminal.getvalue().count("\r") == 31
    assert "\n" not in terminal.getvalue()
    for progress in shown:
        progress.finish("done")
    assert log.getvalue().endswith("31 images, 1.0 images/s, done, 31.0 s\n")
    assert terminal.getvalue().endswith("31 images, 1.0 images/s, done, 31.0 s\n")


def test_passes_are_shown_while_nothing_is_done(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress("cluster", 0, "segments", stream, clock=clock)
    progress.total = 500
    clock.now += LOG_INTERVAL
    progress.note_pass(3)
    assert "0/500" in stream.getvalue()
    assert "pass 3" in stream.getvalue()


def test_a_stage_that_is_done_says_so_in_one_line() -> None:
    stream = io.StringIO()
    Progress("ingest", 7, stream=stream).skip("7 images, done before")
    assert stream.getvalue() == "ingest    7 images, done before\n"
