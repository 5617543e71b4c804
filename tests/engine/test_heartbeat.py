from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
from datus2_ray.engine.context import RunContext

from datus2_ray.engine.heartbeat import Heartbeat, watched
from datus2_ray.engine.parts import configure_ray_data, map_parts, run_stage
from datus2_ray.engine.pools import Pool
from datus2_ray.errors import DatusError


class Slow:
    """Takes longer over a part than the limit allows, with or without telling that it lives."""

    def __init__(self, heartbeat: Heartbeat, tells: bool) -> None:
        self.heartbeat, self.tells = heartbeat, tells

    def __call__(self, block: pa.Table) -> pa.Table:
        for _ in range(20):
            time.sleep(1)
            if self.tells:
                self.heartbeat.beat()
        return pa.table({"image_id": ["a"], "part": block["part"]})


@pytest.mark.slow
# The thread that draws the rows of a hung stage ends with Ray itself.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("tells", [True, False])
def test_slow_work_that_lives_goes_on_and_a_hang_ends(
    open_run: Callable[..., RunContext], tmp_path: Path, tells: bool
) -> None:
    context = open_run(tmp_path / "in")
    configure_ray_data(no_progress_seconds=15)

    def build(parts: ray.data.Dataset, heartbeat: Heartbeat) -> ray.data.Dataset:
        return map_parts(parts, Slow, Pool(1, 1, "cpu"), heartbeat, tells)

    if tells:
        assert run_stage(context, "slow", "slow", "f", {"part-000000.parquet": 1}, build).rows_out == 1
    else:
        with pytest.raises(DatusError, match=r"nothing moved for 15 s.*no_progress_seconds"):
            run_stage(context, "slow", "slow", "f", {"part-000000.parquet": 1}, build)


def test_rows_come_in_order_and_an_error_comes_through(ray_session: None) -> None:
    def rows() -> Any:
        yield {"n": 1}
        yield {"n": 2}
        raise ValueError("broken")

    passed = watched(rows(), Heartbeat(), 5, lambda: DatusError("stalled"))
    assert [next(passed)["n"], next(passed)["n"]] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(passed)


def test_a_task_beats_while_it_goes_through_its_items(ray_session: None) -> None:
    heartbeat = Heartbeat()
    assert list(heartbeat.through(range(40))) == list(range(40))
    assert heartbeat.beats() == 3
    assert list(heartbeat.through([])) == []
    assert heartbeat.beats() == 3


def test_the_counter_lives_beside_the_driver_and_comes_back_when_it_dies(ray_session: None) -> None:
    heartbeat = Heartbeat()
    heartbeat.beat()
    assert heartbeat.beats() == 1
    state = ray._private.state.actors(heartbeat._counter._actor_id.hex())
    assert state["Address"]["NodeID"] == ray.get_runtime_context().get_node_id()
    os.kill(state["Pid"], signal.SIGKILL)
    # Told or not while it is away, it never is the error of the work that it watches.
    until = time.monotonic() + 60
    while heartbeat.beats() != 0:
        assert time.monotonic() < until
        time.sleep(0.2)
    heartbeat.beat()
    assert heartbeat.beats() == 1
