"""The command itself is killed, again and again: repeated, it ends with the tables of an undisturbed run."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datus2_ray.store import storage

KILLS = 10

Start = Callable[..., subprocess.Popen[str]]


def image_ids(out: Path, stage: str) -> list[str]:
    parts = sorted((out / stage).glob("part-*.parquet"))
    return [i for part in parts for i in storage.read_table(str(part), ["image_id"])["image_id"].to_pylist()]


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(
    command: Start,
    scenes: Path,
    tmp_path: Path,
    hashes: Callable[[str], dict[str, str]],
    undisturbed: dict[str, str],
) -> None:
    moments = random.Random(0)
    # 20 s: on two cores that nothing else uses a run takes about as long.
    out, killed, longest, runs = tmp_path / "run", 0, 20.0, 0
    while killed < KILLS or not runs:
        process = command(scenes, out)
        begun = time.monotonic()
        try:
            _, errors = process.communicate(timeout=moments.uniform(1, longest) if killed < KILLS else 300)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
            continue
        # It was quicker than the killer: the tables must be right, and another run starts from nothing.
        assert process.returncode == 0, errors
        longest = min(longest, time.monotonic() - begun)
        runs += 1
        assert hashes(str(out)) == undisturbed
        for stage in ("images", "segments", "masks/initial"):
            assert len(image_ids(out, stage)) == len(set(image_ids(out, stage))) == 24
        if killed < KILLS:
            shutil.rmtree(out)

    # Once more: nothing is left to do, and no file is touched.
    before = {str(file): file.stat().st_mtime_ns for file in out.rglob("*")}
    process = command(scenes, out)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert {str(file): file.stat().st_mtime_ns for file in out.rglob("*")} == before
    assert "report/index.html" in output
