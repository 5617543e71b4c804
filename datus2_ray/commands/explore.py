"""`datus2 explore`: serve the browser application of a finished run on this machine."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import DIGITS, EXPLORER_PORT, RunFolder

if TYPE_CHECKING:  # it imports the server's libraries
    from datus2_ray.explore.explored import Explored


def explore(run_folder: str, port: int | None, ready: Callable[[str], None]) -> None:
    """Prepare the tables of a run, and serve it until interrupted.

    Parameters
    ----------
    port : int, optional
        Default the one that the report links to, or any free one if that is taken.
    ready : callable
        Called with the address, which has the token in it.

    Raises
    ------
    StorageError
        If the run is not finished.
    UsageError
        If the port is taken, or the names are those of another clustering.
    """
    import uvicorn

    from datus2_ray.explore.server import build_app, new_token

    run = RunFolder(storage.absolute(run_folder))
    with tempfile.TemporaryDirectory(prefix="datus2-explore-") as cache, listen(port) as listener:
        explored = open_run(run, Path(cache))
        number, token = listener.getsockname()[1], new_token()
        app = build_app(explored, token, number)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=1
        )
        ready(f"http://127.0.0.1:{number}/?token={token}")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            explored.jobs.stop()


def open_run(run: RunFolder, cache: Path) -> Explored:
    """Return a finished run as the explorer shows it, with its tables prepared; `cache` is a folder of this machine."""
    from datus2_ray.explore.explored import Explored, read_scores
    from datus2_ray.explore.gallery import Gallery, Sources
    from datus2_ray.explore.jobs import Jobs
    from datus2_ray.explore.naming import Naming
    from datus2_ray.explore.prepare import prepare
    from datus2_ray.explore.tables import open_tables
    from datus2_ray.explore.taught import Lessons
    from datus2_ray.store.facts import Surveyed

    folder = prepare(run)
    tables, k = open_tables(folder, cache), int(storage.read_json(run.path("summary.json"))["clusters"])
    sources = Sources.of(run)
    naming = Naming(run, tables)
    naming.now()
    surveyed = run.find(Surveyed)
    return Explored(
        title=storage.read_json(run.path("config.json"))["source"].rstrip("/").rpartition("/")[2],
        version="-".join([folder.rpartition("/")[2], *([sources.masks.fingerprint[:DIGITS]] if sources.masks else [])]),
        k=k,
        tables=tables,
        gallery=Gallery(tables, sources),
        naming=naming,
        lessons=Lessons(run, tables),
        jobs=Jobs(run, cache / "job.log"),
        refined=sources.masks is not None,
        suggested=surveyed.facts.classes if surveyed else (),
        metrics=lambda: read_scores(run),
    )


def listen(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine's loopback.

    Raises
    ------
    UsageError
        If the port is taken, or may not be used.
    """
    try:
        listener = socket.create_server(("127.0.0.1", EXPLORER_PORT if port is None else port))
    except OSError as error:
        if port is not None:
            raise UsageError(
                f"--port {port} cannot be used: {error.strerror}; leave it out to take a free one"
            ) from error
        listener = socket.create_server(("127.0.0.1", 0))
    # asyncio sets this only for sockets that were made for TCP by name. Without it every body waits 40 ms, until the
    # browser acknowledges the headers before it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
