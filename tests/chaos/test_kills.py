"""Processes are killed while they work: the command itself, then those of the run that goes on.

It ends with the tables of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig
from datus2_ray.engine.clustering.rows import RayRows
from datus2_ray.store.lease import LEASE
from tests.chaos.conftest import table_hashes

#: Runs with settings that are read from a file; a process that starts a Ray of its own.
DRIVER = """
import sys
from pathlib import Path
import datus2_ray
datus2_ray.run(datus2_ray.RunConfig.model_validate_json(Path(sys.argv[1]).read_text()))
"""

#: What would make a process join another Ray.
OUTSIDE = ("RAY_ADDRESS", "RAY_JOB_ID", "RAY_TMPDIR")

#: In the titles of: actors with models, a task, an actor that holds vectors of k-means.
VICTIMS = ("MapWorker(MapBatches(EmbedImages)).", "MapWorker(MapBatches(DescribeCrops)).", "ReadImages", "RowHolder.")


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


def run_until_killed(settings: Path, out: Path) -> list[Path]:
    """Start a run as a command of its own, kill it with SIGKILL in `discover`, and return the parts that it wrote."""
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, settings], env=environment)
    try:
        while not any(out.glob("discover/*/part-*.parquet")):
            assert driver.poll() is None
            time.sleep(0.02)
    finally:
        its_own = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    # Tasks that it had sent write for a moment longer; Ray's agents, which do not, would outlive it by a minute.
    _, alive = psutil.wait_procs(its_own, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return list(out.glob("discover/*/part-*.parquet"))


@pytest.mark.slow
def test_a_run_survives_the_death_of_its_driver_then_of_actors_tasks_and_holders(
    ray_session: None,
    scenes: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
    small_run: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, settings = tmp_path / "run", small_run(scenes, tmp_path / "run")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    written = run_until_killed(tmp_path / "settings.json", out)
    assert len(written) < 9  # of 12: some are left to those that are killed next
    assert (out / LEASE).exists()  # its holder is dead, so that the next driver need not wait
    before = {file: file.stat().st_mtime_ns for file in (*written, *out.glob("ingest/*/part-*.parquet"))}

    monkeypatch.setattr("datus2_ray.engine.clustering.rows.OwnRows", RayRows)  # so few vectors need no actors
    killer = Killer()
    killer.start()
    datus2_ray.run(settings)
    killer.stop = True
    killer.join()
    assert not killer.left
    assert table_hashes(str(out)) == undisturbed
    assert {file: file.stat().st_mtime_ns for file in before} == before
