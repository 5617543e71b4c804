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

from datus2_ray.config.load import RunConfig


@pytest.mark.slow
def test_a_run_on_three_nodes_and_one_that_loses_a_node(
    scenes: Path,
    tmp_path: Path,
    hashes: Callable[[str], dict[str, str]],
    undisturbed: dict[str, str],
    small_run: Callable[..., RunConfig],
) -> None:
    files = []
    for name in ("whole", "lost"):
        # As many actors as nodes, so that the lost node has some: one a CPU would start a dozen processes with torch.
        config = small_run(scenes, tmp_path / name, "device=cpu", "discover.actors=3")
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(config.model_dump_json())
    script = Path(__file__).parent / "three_nodes.py"
    # Short, for the sockets in it; and its own, since a cluster notes its address there.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        (Path(folder) / "ray").mkdir()
        done = subprocess.run(
            [sys.executable, script, *files], env={**os.environ, "RAY_TMPDIR": folder}, capture_output=True, text=True,
            timeout=600,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert told == [{"images": 24, "nodes": 3}, {"images": 24, "nodes": 2}]
    for name in ("whole", "lost"):
        assert hashes(str(tmp_path / name)) == undisturbed, name
