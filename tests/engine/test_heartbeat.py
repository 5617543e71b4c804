"""Slow work that lives goes on, a hang ends with its reason, and nothing is drawn once nobody looks any more."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.engine.heartbeat import Heartbeat, forget_memory, peak_memory, watched
from datus2_ray.engine.parts import stream_parts
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.engine.stage import Operator
from datus2_ray.errors import DatusError
from tests.processes import processes_titled


class Beats:
    """Stands for a heartbeat whose beats are numbered by the clock, for as long as the work lives."""

    def __init__(self, lives: bool) -> None:
        self.lives = lives

    def beats(self) -> int:
        return time.monotonic_ns() if self.lives else 0


def watch(rows: Iterator[dict[str, Any]], lives: bool = False, limit: float = 0.2) -> Any:
    return watched(rows, Beats(lives), limit, lambda: DatusError("stalled"), look_every=0.02)  # type: ignore[arg-type]


class Slow:
    """Yields its rows with a pause before each, and notes how many were drawn and that it was closed."""

    def __init__(self, rows: int, seconds: float) -> None:
        self.rows, self.seconds = rows, seconds
        self.drawn = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            for number in range(self.rows):
                time.sleep(self.seconds)
                self.drawn += 1
                yield {"n": number}
        finally:
            self.closed.set()


def drawing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rows"]


def test_rows_come_in_order_and_an_error_comes_through() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"n": 1}
        yield {"n": 2}
        raise ValueError("broken")

    passed = watch(rows())
    assert [next(passed)["n"], next(passed)["n"]] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(passed)


def test_the_limit_counts_from_the_last_row_or_beat() -> None:
    assert len(list(watch(iter(Slow(5, 0.1)), limit=0.3))) == 5  # longer in all than the limit
    assert len(list(watch(iter(Slow(1, 0.6)), lives=True))) == 1
    start = time.monotonic()
    with pytest.raises(DatusError, match="stalled"):
        next(watch(iter(Slow(1, 1.0))))
    assert 0.2 < time.monotonic() - start < 1


@pytest.mark.parametrize("lives", [True, False])
def test_beats_are_passed_on_while_no_row_comes(lives: bool) -> None:
    heard: list[float] = []
    arguments: Any = (iter(Slow(1, 0.3)), Beats(lives), 10, lambda: DatusError("stalled"), 0.02)
    assert len(list(watched(*arguments, on_beat=lambda: heard.append(time.monotonic())))) == 1
    assert (len(heard) > 3) == lives


def test_a_watch_that_is_closed_early_stops_its_thread() -> None:
    for thread in drawing():
        thread.join(timeout=10)  # of the stalled one before
    slow = Slow(1000, 0.01)
    passed = watch(iter(slow))
    next(passed)
    (thread,) = drawing()
    passed.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert slow.closed.is_set()
    assert slow.drawn < 100


def beat_slowly(heartbeat: Heartbeat, tells: bool) -> Callable[[pa.Table], pa.Table]:
    def work(block: pa.Table) -> pa.Table:
        for _ in range(12):
            time.sleep(0.5)
            if tells:
                heartbeat.beat()
        return block

    return work


@pytest.mark.parametrize("tells", [True, False])
def test_on_ray_slow_work_that_lives_goes_on_and_a_hang_ends(
    open_run: Callable[..., Run], tmp_path: Path, tells: bool
) -> None:
    open_run(tmp_path / "in")
    quick = list(stream_parts([{"part": "a"}], lambda _: [Operator(lambda block: block)]))  # warms a worker up
    assert quick == [{"part": "a"}]
    configure_ray_data(3)
    rows = stream_parts([{"part": "a"}], lambda heartbeat: [Operator(beat_slowly(heartbeat, tells))])
    if tells:
        assert list(rows) == quick
    else:
        with pytest.raises(DatusError, match=r"nothing moved for 3 s.*no_progress_seconds"):
            list(rows)


def test_a_task_beats_as_it_goes_through_its_items_and_the_counter_comes_back_when_it_dies(ray_session: None) -> None:
    heartbeat = Heartbeat()
    assert list(heartbeat.through(range(40))) == list(range(40))
    assert heartbeat.beats() == 3
    assert list(heartbeat.through([])) == []
    assert heartbeat.beats() == 3
    os.kill(newest_counter(), signal.SIGKILL)
    # Told or not while it is away, it never is the error of the work that it watches.
    until = time.monotonic() + 60
    while heartbeat.beats() != 0:
        assert time.monotonic() < until
        time.sleep(0.1)
    heartbeat.beat()
    assert heartbeat.beats() == 1
    # Another stream beats apart, in the same process.
    other = Heartbeat()
    assert (other.beats(), other.memory()) == (0, None)
    other.beat(3)
    assert (heartbeat.beats(), other.beats(), other.memory()) == (1, 1, 3)
    # Of those who say their memory, the largest.
    assert heartbeat.memory() is None
    for memory in (5, 9, 7):
        heartbeat.beat(memory)
    heartbeat.beat()
    assert heartbeat.memory() == 9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets")
def test_memory_that_was_given_back_is_forgotten() -> None:
    size = 300_000_000
    held = np.ones(size, np.uint8)
    assert peak_memory() >= held.nbytes
    high = peak_memory()
    del held
    forget_memory()
    assert peak_memory() < high - size // 2


def newest_counter() -> int:
    """Return the process of the counter actor that was started last, by the title that Ray gives it."""
    return processes_titled("_Counter")[-1].pid
