"""Processes of the run are killed while they work: the run finishes with the tables of an undisturbed one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig
from datus2_ray.engine.clustering.rows import RayRows
from tests.chaos.conftest import table_hashes

#: In the titles of: an actor with a model, a task, an actor that holds vectors of k-means.
VICTIMS = ("MapWorker(MapBatches(EmbedImages)).", "ReadImages", "RowHolder.")


class Killer(threading.Thread):
    """Kills one worker of this session's Ray for each name, as soon as one works whose title holds it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.left, self.stop = list(VICTIMS), False

    def run(self) -> None:
        while self.left and not self.stop:
            for process in psutil.Process().children(recursive=True):
                try:
                    title = process.cmdline()[0]
                    # An actor that is still being built has done nothing yet that could be lost.
                    if not title.startswith("ray::") or "__init__" in title:
                        continue
                    for victim in [name for name in self.left if name in title]:
                        process.kill()
                        self.left.remove(victim)
                except (psutil.Error, IndexError):
                    continue
            time.sleep(0.01)


@pytest.mark.slow
def test_a_run_survives_the_death_of_actors_tasks_and_holders(
    ray_session: None,
    scenes: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
    small_run: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datus2_ray.engine.clustering.rows.OwnRows", RayRows)  # so few vectors need no actors
    killer = Killer()
    killer.start()
    datus2_ray.run(small_run(scenes, tmp_path / "run"))
    killer.stop = True
    killer.join()
    assert not killer.left
    assert table_hashes(str(tmp_path / "run")) == undisturbed
