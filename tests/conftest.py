"""Fixtures that several test files share: one Ray for the whole session, an S3 server, the real images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import S3_PORT

# Set before anything imports Ray: its own default turns token authentication on and writes a token to the home folder.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

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
from datus2_ray.demo.write import write_demo
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.engine.ray_private import quick_start, without_side_actors
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.listing import Listing
from datus2_ray.store import storage
from datus2_ray.store.events import EventLog
from datus2_ray.store.run_folder import RunFolder
from tests.in_process import without_ray
from tests.s3 import put_before, serve_s3


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need Ray: ``make test`` leaves them to a process of their own.

    Two Rays on one machine would disturb each other.
    """
    for item in items:
        if _needs_ray(item):
            item.add_marker(pytest.mark.on_ray)


def _needs_ray(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return "ray_session" in fixtures or item.get_closest_marker("starts_ray") is not None


# A time limit a case would fail on a busy machine, which is not what these tests are about.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


#: Every actor with a model imports torch, 7 s of a core, and a run starts up to one a CPU in each of two pools; the
#: tests' Ray says to have four CPUs. Where more actors are what is tested, the test asks for them.
FEW_ACTORS = ("discover.actors=1", "cluster.workers=2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images, ``DATUS2_REAL_DATA`` where it is set; skip the test if there is none."""
    folder = Path(os.environ.get("DATUS2_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "camvid" / "val" / "images").is_dir():
        pytest.skip("the real images are not part of the project; set DATUS2_REAL_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start an S3 server on the loopback device and give its address; ``AWS_ENDPOINT_URL`` names it."""
    with serve_s3(S3_PORT) as server:
        yield server


@pytest.fixture
def faulty(s3_server: str) -> Callable[..., AbstractContextManager[str]]:
    """Give a function that starts such a server before the S3 server, for as long as its context lasts."""
    return lambda fault: put_before(s3_server, fault)


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

    with quick_start():
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    without_side_actors()
    yield
    ray.shutdown()


def make_run(source: Path | str, out: Path | str, *assignments: str, **flags: Any) -> Run:
    """Open a run of some source with a small, quick backbone and any settings; a source that is not there is empty."""
    chosen = {"backbone": "untrained:vit_tiny_patch16_224", "preset": "paper", **flags}
    preset = str(chosen.pop("preset"))
    labelled = bool(chosen.pop("labelled", True))
    settings = {**chosen, "source": str(source), "out": str(out)}
    config = load(settings, preset=preset, assignments=(*FEW_ACTORS, *assignments))
    folder = RunFolder(config.out)
    folder.claim(config.source, "run")
    empty = Listing({}, {}, {}, "", config.dataset, False, None)
    listing = list_source(config, labelled) if storage.exists(config.source) else empty
    return Run(config, folder, EventLog(folder.path("events.jsonl")), listing, Machines((Node(4, 0, 16 * 10**9),)))


@pytest.fixture
def open_run(tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Return a function that opens a run on the tests' Ray, below the test's folder; few parts are Ray's work, too."""
    configure_ray_data(120)
    monkeypatch.setattr("datus2_ray.engine.parts.FEW", 0)
    return lambda source, *assignments, name="run", **flags: make_run(source, tmp_path / name, *assignments, **flags)


@pytest.fixture
def open_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Return a function that opens a run whose stages work in this process, without Ray."""
    without_ray(monkeypatch)
    return lambda source, *assignments, name="run", **flags: make_run(source, tmp_path / name, *assignments, **flags)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Render a small labelled set once: 24 scenes, 6 classes."""
    folder = tmp_path_factory.mktemp("scenes")
    write_demo(folder, 24, seed=0)
    return folder
