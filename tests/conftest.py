"""Fixtures that several test files share: one Ray for the whole session, and the real images where they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Set before anything imports Ray: its own default turns token authentication on and writes a token to the home folder.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


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
