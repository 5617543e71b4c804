"""A process of the run is killed while it works: the run finishes with the tables of an undisturbed one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig


class Killer(threading.Thread):
    """Kills one worker of this session's Ray whose title holds a name, as soon as it has lived for a moment."""

    def __init__(self, title: str) -> None:
        super().__init__(daemon=True)
        self.title, self.killed, self.stop = title, "", False

    def run(self) -> None:
        while not self.killed and not self.stop:
            for process in psutil.Process().children(recursive=True):
                try:
                    title = process.cmdline()[0]
                    # An actor that is still being built has done nothing yet that could be lost.
                    if title.startswith("ray::") and self.title in title and "__init__" not in title:
                        process.kill()
                        self.killed = title
                        return
                except (psutil.Error, IndexError):
                    continue
            time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "actors"), [("MapWorker(MapBatches(EmbedImages)).", 2), ("ReadImages", 1), ("ShardHolder.", 1)]
)
def test_a_run_survives_the_death_of_a_worker(
    victim: str,
    actors: int,
    ray_session: None,
    scenes: Path,
    tmp_path: Path,
    hashes: Callable[[str], dict[str, str]],
    undisturbed: dict[str, str],
    small_run: Callable[..., RunConfig],
) -> None:
    out = tmp_path / "run"
    killer = Killer(victim)
    killer.start()
    datus2_ray.run(small_run(scenes, out, f"discover.actors={actors}"))
    killer.stop = True
    assert killer.killed, f"no process named {victim} was seen"
    assert hashes(str(out)) == undisturbed
