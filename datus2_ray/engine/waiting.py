"""Wait for Ray with a limit and a reason: no wait of a driver is without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray

from datus2_ray.engine.failure import cause_of
from datus2_ray.engine.session import no_progress_seconds
from datus2_ray.errors import DatusError

T = TypeVar("T")


def get_or_stall(references: Sequence[Any], who: str, remedy: str) -> list[Any]:
    """Return the results of tasks or actor calls, in their order; `who` and `remedy` are of the error message.

    Raises
    ------
    DatusError
        If none came for ``no_progress_seconds``, or one failed.
    """
    seconds = no_progress_seconds()
    waiting = list(references)
    while waiting:
        arrived, waiting = ray.wait(waiting, timeout=seconds)
        if not arrived:
            raise DatusError(
                f"{who} did not answer for {seconds} s; {remedy}, or wait longer with --set no_progress_seconds=N"
            )
    try:
        results: list[Any] = ray.get(list(references))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    return results


def run_tasks(function: Callable[..., T], shared: Any, arguments: Sequence[tuple[Any, ...]], who: str) -> list[T]:
    """Run one Ray task per tuple of arguments, each with the large `shared` before them, and return their results."""
    kept, task = ray.put(shared), ray.remote(function)
    return get_or_stall([task.remote(kept, *each) for each in arguments], who, "free some CPUs of the cluster")
