"""Three nodes, all of them or one lost on the way: the tables of a run on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from datus2_ray.config import RunConfig


@pytest.mark.slow
@pytest.mark.parametrize("lost", [False, True])
def test_a_run_on_three_nodes(
    lost: bool,
    scenes: Path,
    tmp_path: Path,
    hashes: Callable[[str], dict[str, str]],
    undisturbed: dict[str, str],
    small_run: Callable[[Path, Path], RunConfig],
) -> None:
    out, settings = tmp_path / "run", tmp_path / "settings.json"
    config = small_run(scenes, out)
    # As many actors as nodes: one a CPU would start a dozen processes with torch on what may be a small machine.
    few = config.discover.model_copy(update={"actors": 3})
    settings.write_text(config.model_copy(update={"device": "cpu", "discover": few}).model_dump_json())
    script = Path(__file__).parent / "three_nodes.py"
    # Short, for the sockets in it; and its own, since a cluster notes its address there.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        (Path(folder) / "ray").mkdir()
        done = subprocess.run(
            [sys.executable, script, settings, *(["--lose-one"] if lost else [])],
            env={**os.environ, "RAY_TMPDIR": folder}, capture_output=True, text=True, timeout=400,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"images": 24, "nodes": 2 if lost else 3}
    assert hashes(str(out)) == undisturbed
