"""What the tests of crashes share: a small run, what it looks like undisturbed, and how two runs are compared."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig, load
from datus2_ray.store import storage

BACKBONE = "untrained:vit_tiny_patch16_224"
#: One actor a pool: each imports torch, which takes longer than the models' work on a few images.
ASSIGNMENTS = ("ingest.images_per_part=3", "discover.actors=1", "cluster.restarts=3", "evaluate.token_restarts=1")
FLAGS = ("--dataset", "demo", "--preset", "paper", "--no-refine", "--backbone", BACKBONE)

#: What makes a process start a Ray of its own.
OUTSIDE = ("RAY_ADDRESS", "RAY_JOB_ID", "RAY_TMPDIR")


def table_hashes(out: str) -> dict[str, str]:
    """Hash the bytes of every table of a run, by its place: they hold no times and no paths."""
    tables = [entry.path for entry in storage.list_files(out) if entry.path.endswith(".parquet")]
    return {path: hashlib.sha256(storage.read_bytes(storage.join(out, path))).hexdigest() for path in tables}


@pytest.fixture
def hashes() -> Callable[[str], dict[str, str]]:
    return table_hashes


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Give a function that starts ``datus2 run`` with the small run's settings as a process of its own."""

    def start(source: Path | str, out: Path | str, *more: str, **environment: str) -> subprocess.Popen[str]:
        sets = [word for assignment in (*ASSIGNMENTS, *more) for word in ("--set", assignment)]
        kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        return subprocess.Popen(
            [sys.executable, "-m", "datus2_ray", "run", str(source), "--out", str(out), *FLAGS, *sets],
            env={**kept, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


@pytest.fixture(scope="session")
def small_run() -> Callable[..., RunConfig]:
    """Give a function that makes the same settings, and any more, for a run in this process."""

    def small_run(source: Path, out: Path, *more: str) -> RunConfig:
        flags = {"source": str(source), "out": str(out), "dataset": "demo", "refine": {"enabled": False}}
        return load({**flags, "backbone": BACKBONE}, preset="paper", assignments=ASSIGNMENTS + more)

    return small_run


@pytest.fixture(scope="session")
def undisturbed(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None, small_run: Callable[..., RunConfig]
) -> dict[str, str]:
    """Run once without any trouble and give the hashes of its tables."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    datus2_ray.run(small_run(scenes, out))
    return table_hashes(str(out))
