"""The command itself is killed while it works: repeated, it goes on and ends with the tables of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig
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


@pytest.mark.slow
def test_a_driver_that_is_killed_in_discover_changes_nothing(
    ray_session: None,
    scenes: Path,
    tmp_path: Path,
    undisturbed: dict[str, str],
    small_run: Callable[..., RunConfig],
) -> None:
    out, settings = tmp_path / "run", small_run(scenes, tmp_path / "run")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    environment = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path / "settings.json"], env=environment)
    try:
        while len(written := list(out.glob("discover/*/part-*.parquet"))) < 2:
            assert driver.poll() is None
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert len(written) < 8
    assert (out / LEASE).exists()  # its holder is dead, so that the next driver need not wait
    before = {file: file.stat().st_mtime_ns for file in (*written, *out.glob("ingest/*/part-*.parquet"))}

    datus2_ray.run(settings)
    assert table_hashes(str(out)) == undisturbed
    assert {file: file.stat().st_mtime_ns for file in before} == before
