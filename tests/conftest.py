"""Fixtures that several test files share: one Ray for the whole session, an S3 server, the real images."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from datus2_ray.demo.write import write_demo
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.listing import Listing
from datus2_ray.store import storage
from datus2_ray.store.events import EventLog
from datus2_ray.store.run_folder import RunFolder
from tests.in_process import without_ray


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need Ray or the S3 server: ``make test`` leaves them to a process of their own.

    Two Rays on one machine would disturb each other.
    """
    for item in items:
        if _needs_ray(item):
            item.add_marker(pytest.mark.on_ray)


def _needs_ray(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & {"ray_session", "s3_server"}) or item.get_closest_marker("starts_ray") is not None


# A time limit a case would fail on a busy machine, which is not what these tests are about.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


#: Every actor with a model imports torch, 7 s of a core, and a run starts one a CPU in each of two pools; the tests'
#: Ray says to have four CPUs. Where more actors are what is tested, the test asks for them.
FEW_ACTORS = ("discover.actors=1", "cluster.workers=2")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real images, ``DATUS2_REAL_DATA`` where it is set; skip the test if there is none."""
    folder = Path(os.environ.get("DATUS2_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "camvid" / "val" / "images").is_dir():
        pytest.skip("the real images are not part of the project; set DATUS2_REAL_DATA to their folder")
    return folder


#: The S3 server, in an environment of its own because the package needs none of its dependencies.
MOTO = "moto[server]==5.2.5"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start an S3 server on the loopback device and give its address; ``AWS_ENDPOINT_URL`` names it."""
    environment = Path(__file__).parents[1] / ".moto"
    if not (environment / "bin" / "moto_server").exists():
        # By this environment's own pip where it has one: to make another takes longer than to install the server.
        # Not by importlib.util.find_spec: once that has named pip, setuptools cannot be imported in this process (its
        # _distutils_hack stands back for pip), and torch.compile imports it.
        shared = any(Path(folder, "pip").is_dir() for folder in sys.path)
        subprocess.run([sys.executable, "-m", "venv", *["--without-pip"] * shared, environment], check=True)
        python = environment / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", python] if shared else [python, "-m", "pip"]
        subprocess.run([*pip, "install", "--quiet", "--no-compile", MOTO], check=True)
    server = subprocess.Popen(
        [environment / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(S3_PORT)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(900):
        try:
            socket.create_connection(("127.0.0.1", S3_PORT)).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{S3_PORT}"
    server.terminate()
    server.wait()


@contextmanager
def _faulty(server: str, fault: Callable[[int, str], tuple[int, str] | None]) -> Iterator[str]:
    """Put a server before the S3 server that answers some requests itself: with a status and an error code of S3."""
    lock, seen = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            with lock:
                seen[0] += 1
                wrong = fault(seen[0], self.command)
            body = self.body()
            if wrong is not None:
                text = f"<Error><Code>{wrong[1]}</Code><Message>made</Message></Error>".encode()
                self.reply(wrong[0], {}, b"" if self.command == "HEAD" else text)
                return
            # What two neighbours say to each other: how the body is framed, and whether it may come.
            own = ("host", "connection", "expect", "transfer-encoding")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in own}
            request = urllib.request.Request(server + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request) as found:
                    self.reply(found.status, dict(found.headers), found.read())
            except urllib.error.HTTPError as error:
                self.reply(error.code, dict(error.headers), error.read())

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
            for key, value in headers.items():
                if key.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(key, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_address[1]}"
    proxy.shutdown()


@pytest.fixture
def faulty(s3_server: str) -> Callable[..., AbstractContextManager[str]]:
    """Give a function that starts such a server before the S3 server, for as long as its context lasts."""
    return lambda fault: _faulty(s3_server, fault)


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
def open_run(tmp_path: Path, ray_session: None) -> Callable[..., Run]:
    """Return a function that opens a run on the tests' Ray, below the test's folder."""
    configure_ray_data(120)
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
