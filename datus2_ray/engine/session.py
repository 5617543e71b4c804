"""Starting Ray, or joining the cluster that a job runs on, with its chatter kept out of the user's terminal."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from datus2_ray.engine import ray_private
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.operators.as_in_a_task import silence
from datus2_ray.errors import DatusError

#: Seconds to wait for the cluster's first answer; Ray itself goes on asking for longer than anybody waits.
ANSWER_SECONDS = 3.0


#: Bytes that a folder of Ray's sessions may have: a socket's path has at most 107, of which Ray adds 67.
MAX_FOLDER_BYTES = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1")

#: Where a link to a longer one may lie.
SHORT_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))

#: Where Ray Data's context keeps the seconds after which a stage counts as stalled.
NO_PROGRESS = "datus2_ray.no_progress_seconds"


def configure_ray_data(seconds: int) -> None:
    """Set Ray Data's context for this process: no bars, one block a part, and a limit of `seconds` without progress."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = None  # a part stays one block however large its images are
    context.set_config(NO_PROGRESS, seconds)
    # Ray Data's own guard takes a slow part for a stalled one; `watched` does not, and ends a stage long before this.
    context.execution_no_progress_timeout_s = max(1800, 4 * seconds)


def no_progress_seconds() -> int:
    """Return the seconds after which a stage counts as stalled, as :func:`configure_ray_data` set them."""
    import ray.data

    seconds: int = ray.data.DataContext.get_current().get_config(NO_PROGRESS)
    return seconds


def joined_address() -> str | None:
    """Return the address of the cluster that is joined, or None where a local Ray is started."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def look_at_machines(no_progress_seconds: int) -> Machines:
    """Return the machines of the cluster that a run would join, or this machine without starting Ray yet."""
    import ray

    if joined_address() is None and not ray.is_initialized():
        return Machines.of_this_machine()
    start_ray(no_progress_seconds)
    return Machines.now()


def start_ray(no_progress_seconds: int) -> None:
    """Connect to Ray once: join the cluster at ``RAY_ADDRESS``, as in a submitted job, or start a local Ray.

    A process that is connected already keeps its connection.

    Raises
    ------
    DatusError
        If the cluster does not answer.
    """
    address = joined_address()
    if address is None:
        # A local Ray of one user needs no token; without this it would write one to the home folder. Whether a cluster
        # wants one is the cluster's to say.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's core reports the arguments of every actor pool as an error, which they are not (ray-project/ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if not ray.is_initialized():
        if address is not None:
            _check_answers(address)
        # By name: without one, Ray joins whatever cluster was last started on this machine.
        local = address is None
        quickly = ray_private.quick_start() if local else nullcontext()
        # Ray's core writes messages of its own; failures are raised in Python.
        with quickly, silence(), _without_own_threads(), ThreadPoolExecutor(1) as thread:
            # What the stages need takes as long to import as Ray takes to start. Ray starts in this thread: Linux kills
            # its processes when the thread ends that started them (PR_SET_PDEATHSIG).
            importing = thread.submit(importlib.import_module, "datus2_ray.engine.execute")
            try:
                ray.init(
                    address="local" if local else address,
                    include_dashboard=False if local else None,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    _temp_dir=short_folder(ray_folder()) if local else None,
                )
                # What Ray itself does at exit begins with half a second in which messages could be shown.
                atexit.register(ray_private.shut_down)
                importing.result()
                ray_private.without_messages()
                if local:
                    ray_private.without_side_actors()
            except ConnectionError as error:
                raise _no_answer(str(address)) from error
            except OSError as error:
                raise DatusError(
                    f"Ray cannot start in {ray_folder()} ({error.strerror or error}); set RAY_TMPDIR to a folder with "
                    "space that you may write to"
                ) from error
        if threading.current_thread() is threading.main_thread():
            # What `ray job stop` and Kubernetes send ends a run as the interrupt key does; Ray's core would write a
            # trace of its own.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure_ray_data(no_progress_seconds)
    # After the import of ray.data, which sets its own level. What fails is raised, too: Ray's record of it is a trace.
    for name in ("ray", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def ray_folder() -> str:
    """Return the folder in which a local Ray keeps sessions and what does not fit in memory."""
    return str(Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray").expanduser().absolute())


def short_folder(folder: str) -> str:
    """Return a folder as it is, or a link to it where the sockets in it would have names that are too long.

    Raises
    ------
    DatusError
        If the folder or the link cannot be made.
    """
    if len(os.fsencode(folder)) <= MAX_FOLDER_BYTES:
        return folder
    name = f"ray-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatusError(f"Ray cannot work in {folder} ({error.strerror}); set RAY_TMPDIR to another folder") from error
    for parent in SHORT_FOLDERS:
        link = parent / name
        with suppress(OSError):
            if not link.is_symlink():
                link.symlink_to(folder)
            if str(link.readlink()) == folder:
                return str(link)
    raise DatusError(
        f"{folder} is too long for the names of Ray's sockets; set RAY_TMPDIR to a folder of at most "
        f"{MAX_FOLDER_BYTES - len('/ray')} characters"
    )


def _check_answers(address: str) -> None:
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdigit():
        return  # `auto`: Ray looks for it on this machine, which takes no waiting
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise _no_answer(address) from error


def _no_answer(address: str) -> DatusError:
    return DatusError(
        f"no Ray cluster answers at RAY_ADDRESS = {address}; start one (ray start --head), correct the address, or "
        "unset it for a local Ray"
    )


@contextmanager
def _without_own_threads() -> Iterator[None]:
    """Keep the user's number of OpenMP threads from Ray's processes: only where there is none, Ray caps each of them.

    Two actors of four threads each, on two cores, gave 29 % less than with one thread each (measured).
    """
    kept = os.environ.pop("OMP_NUM_THREADS", None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ["OMP_NUM_THREADS"] = kept
