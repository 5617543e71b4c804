"""Starting Ray, or joining the cluster that a job runs on, with its chatter kept out of the user's terminal."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_ray(no_progress_seconds: int) -> None:
    """Connect to Ray once; a process that is connected already keeps its connection.

    With ``RAY_ADDRESS`` set, as in a submitted job, the cluster is joined; else a local Ray is started.

    Parameters
    ----------
    no_progress_seconds : int
        How long a stage may move nothing.
    """
    # A local Ray of one user needs no token; without this it would write one to the home folder. A cluster's own
    # setting, where there is one, comes first.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's core reports the arguments of every actor pool as an error, which they are not (ray-project/ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    from datus2_ray.stages.parts import configure_ray_data

    if not ray.is_initialized():
        local = "RAY_ADDRESS" not in os.environ
        with _without_core_messages():
            ray.init(include_dashboard=False if local else None, log_to_driver=False, logging_level=logging.ERROR)
    for name in ("ray", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    configure_ray_data(no_progress_seconds)


@contextmanager
def _without_core_messages() -> Iterator[None]:
    """Hold back what Ray's C++ core writes to the standard error while it starts; failures are raised in Python."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
