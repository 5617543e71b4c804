"""Runs to explore, and a server of one, in this process."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from selenium import webdriver

from datus2_ray.commands.explore import listen, open_run
from datus2_ray.explore.server import Explored, build_app
from datus2_ray.store.run_folder import RunFolder
from tests.explore.made import MadeRun

TOKEN = "a-token-of-the-tests"


@dataclass
class Served:
    """A server and the run that it shows."""

    run: RunFolder
    explored: Explored
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={TOKEN}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, dict[str, str], bytes]:
        """Send a request as the page does; a header of None is left out."""
        own = f"127.0.0.1:{self.port}"
        sent = {"host": own, "cookie": f"datus2-explore-{self.port}={TOKEN}", "origin": f"http://{own}"}
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if method == "POST":
            sent |= {"content-type": "application/json", "content-length": str(len(data))}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        status, _, data = self.ask(method, path, body)
        assert status == 200, data
        return json.loads(data)

    def edit(self, expected: int, **change: Any) -> Any:
        return self.json("POST", "/api/edit", {"expected": expected, "edit": change})


@dataclass
class MadeServed(Served):
    """A server of a made run."""

    made: MadeRun


class Servers:
    """Servers of runs, each in a thread of this process."""

    def __init__(self) -> None:
        self._running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(self, run: RunFolder, cache: Path) -> Served:
        """Serve a run."""
        listener = listen(0)
        port = listener.getsockname()[1]
        explored = open_run(run, cache)
        app = build_app(explored, TOKEN, port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", server_header=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        self._running.append((server, thread))
        return Served(run, explored, port)

    def make(self, folder: Path, **contents: Any) -> MadeServed:
        """Make and serve a run; `contents` are attributes of :class:`MadeRun`."""
        made = MadeRun(**{"folder": folder / "run", **contents})
        return MadeServed(**vars(self.start(made.write(), folder)), made=made)

    def stop(self) -> None:
        for server, thread in self._running:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Return what starts servers, which end with the test."""
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture
def serve(servers: Servers, tmp_path: Path) -> Callable[..., MadeServed]:
    """Return a function that makes and serves a run."""
    return lambda **contents: servers.make(tmp_path, **contents)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeServed]:
    """Return a server for tests that change nothing."""
    servers = Servers()
    yield servers.make(tmp_path_factory.mktemp("served"))
    servers.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return a browser; skip without one, unless ``DATUS2_BROWSER=required``."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        if os.environ.get("DATUS2_BROWSER") == "required":
            pytest.fail("no chromium and chromedriver on PATH")
        pytest.skip("no chromium and chromedriver on PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()
