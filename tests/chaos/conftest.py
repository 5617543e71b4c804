"""What the tests of crashes share: a small run, what it looks like undisturbed, and how two runs are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig, load
from datus2_ray.store import folders, storage
from tests.in_process import commands_without_ray

#: One actor a pool: each imports torch, which takes longer than the models' work on a few small images.
ASSIGNMENTS = (
    "ingest.images_per_part=2",
    "discover.actors=1",
    "discover.input_size=64",
    "discover.tau=0",
    "cluster.workers=2",
    "cluster.restarts=3",
    "evaluate.token_restarts=1",
)


def table_hashes(out: str) -> dict[str, str]:
    """Hash the bytes of every table of a run, by its place: they hold no times and no paths."""
    tables = [entry.path for entry in folders.list_files(out) if entry.path.endswith(".parquet")]
    return {path: hashlib.sha256(storage.read_bytes(storage.join(out, path))).hexdigest() for path in tables}


def run_here(config: RunConfig) -> dict[str, str]:
    """Run in this process, without Ray, and return the hashes of the tables."""
    with pytest.MonkeyPatch.context() as patch:
        commands_without_ray(patch)
        run(config)
    return table_hashes(config.out)


@pytest.fixture(scope="session")
def small_run() -> Callable[..., RunConfig]:
    """Return a function that makes the settings of the small run, and any more."""

    def small_run(source: Path | str, out: Path | str, *more: str) -> RunConfig:
        flags = {"source": str(source), "out": str(out), "dataset": "demo", "no_refine": True}
        flags |= {"backbone": "untrained:vit_tiny_patch16_224"}
        return load(flags, preset="paper", assignments=ASSIGNMENTS + more)

    return small_run


@pytest.fixture(scope="session")
def undisturbed(
    scenes: Path, tmp_path_factory: pytest.TempPathFactory, small_run: Callable[..., RunConfig]
) -> dict[str, str]:
    """Run once in this process, without Ray or any trouble, and return the hashes of its tables."""
    return run_here(small_run(scenes, tmp_path_factory.mktemp("undisturbed") / "run"))
