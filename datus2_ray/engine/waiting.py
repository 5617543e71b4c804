"""Wait for Ray with a limit and a reason: no wait of a driver is without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray

from datus2_ray.engine.failure import cause_of
from datus2_ray.errors import DatusError


def get_or_stall(references: Sequence[Any], seconds: int, who: str, remedy: str) -> list[Any]:
    """Return the results of tasks or actor calls, in their order.

    Parameters
    ----------
    references : sequence of ObjectRef
        What is waited for.
    seconds : int
        Seconds in which at least one of them must come.
    who, remedy : str
        Of the message: who did not answer, and what to do.

    Raises
    ------
    DatusError
        If none came for so long, or one failed.
    """
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
