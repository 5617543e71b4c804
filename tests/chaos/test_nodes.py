"""Three nodes, one of which is lost on the way: the tables of a run in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datus2_ray.config.load import RunConfig
from tests.chaos.conftest import run_here, table_hashes

pytestmark = pytest.mark.starts_ray


@pytest.mark.slow
def test_a_run_on_three_nodes_loses_one_of_them_and_no_image(
    scenes: Path, tmp_path: Path, small_run: Callable[..., RunConfig]
) -> None:
    # In one pool as many actors as nodes, so that the lost node has some: more would be a dozen processes with torch.
    settings_of_both = ("device=cpu", "discover.descriptor=tokens")
    undisturbed = run_here(small_run(scenes, tmp_path / "undisturbed", *settings_of_both))
    config = small_run(scenes, tmp_path / "run", *settings_of_both, "discover.actors=3")
    settings = tmp_path / "settings.json"
    settings.write_text(config.model_dump_json())
    script = Path(__file__).parent / "three_nodes.py"
    # Short, for the sockets in it; and its own, since a cluster notes its address there.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        done = subprocess.run(
            [sys.executable, script, settings], env={**os.environ, "RAY_TMPDIR": folder}, capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert outcomes == [{"images": 24, "nodes": [3, 2]}]
    assert table_hashes(str(tmp_path / "run")) == undisturbed
