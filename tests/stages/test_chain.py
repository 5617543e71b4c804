"""The stages of a run in one process, without Ray: what a crash at any write, and a changed setting, leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.stages import RUN
from datus2_ray.store.facts import Evaluated


def test_all_stages_run_without_ray(open_here: Callable[..., Run], scenes: Path) -> None:
    run = open_here(scenes, dataset="demo", preset="best")
    done, left_out = execute(run, RUN)
    assert set(left_out) == {"sample", "head", "codes", "refine", "export"}
    assert done.facts(Evaluated).metrics["images"] == 24
