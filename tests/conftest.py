"""Fixtures that several test files share: one Ray for the whole session, an S3 server, the real images."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Set before anything imports Ray: its own default turns token authentication on and writes a token to the home folder.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

with socket.create_server(("127.0.0.1", 0)) as free:
    S3_PORT = free.getsockname()[1]

# Before Ray starts, whose workers inherit it; the server itself starts with the first test that wants it.
os.environ.update(
    AWS_ENDPOINT_URL=f"http://127.0.0.1:{S3_PORT}",
    AWS_ACCESS_KEY_ID="AKIATESTKEY",
    AWS_SECRET_ACCESS_KEY="a-secret-of-the-tests",
    AWS_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)

import pyarrow.fs as pafs
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


#: Of the S3 server, which has an environment of its own: its botocore would not fit s3fs's.
MOTO = "moto[server]==5.2.5"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start an S3 server on the loopback device and give its address; ``AWS_ENDPOINT_URL`` names it."""
    environment = Path(__file__).parents[1] / ".moto"
    if not (environment / "bin" / "moto_server").exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", MOTO], check=True)
    server = subprocess.Popen(
        [environment / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(S3_PORT)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", S3_PORT)).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{S3_PORT}"
    server.terminate()
    server.wait()


@pytest.fixture
def bucket(s3_server: str, request: pytest.FixtureRequest) -> str:
    """Make a bucket of its own for the test and give its name."""
    name = f"bucket-{abs(hash(request.node.nodeid)) % 10**9}"
    pafs.S3FileSystem(endpoint_override=s3_server, allow_bucket_creation=True).create_dir(name)
    return name


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
