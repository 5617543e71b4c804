"""Fixtures that several test files share: one Ray for the whole session, and the real images where they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before anything imports Ray: its own default turns token authentication on and writes a token to the home folder.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

from hypothesis import settings

from datus2_ray.config import load
from datus2_ray.context import RunContext
from datus2_ray.datasets.demo import write_demo
from datus2_ray.stages.parts import configure_ray_data

# A time limit a case would fail on a busy machine, which is not what these tests are about.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder of real images (``../shared/data``, or ``DATUS2_REAL_DATA``) or skip."""
    folder = Path(os.environ.get("DATUS2_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "camvid" / "val" / "images").is_dir():
        pytest.skip("the real images are not part of the project; set DATUS2_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Start one local Ray for all tests, with more logical CPUs than cores: some pool shapes need them."""
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def open_run(tmp_path: Path, ray_session: None) -> Callable[..., RunContext]:
    """Give a function that opens a run of some source with a small, quick backbone and any settings."""

    def open_run(source: Path, *assignments: str, name: str = "run", **flags: Any) -> RunContext:
        flags = {
            "backbone": "untrained:vit_tiny_patch16_224",
            **flags,
            "source": str(source),
            "out": str(tmp_path / name),
        }
        configure_ray_data(no_progress_seconds=120)
        return RunContext.open(load(flags, assignments=assignments))

    return open_run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a small labelled set once: 24 scenes, 6 classes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_demo(folder, 24, seed=0)
    return folder
