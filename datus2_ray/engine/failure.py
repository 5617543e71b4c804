"""What a user should read of an error that Ray wraps: our own message, or the first cause, in one line."""

from __future__ import annotations

import re

from ray.exceptions import RayError

from datus2_ray.errors import DatusError

#: ``package.module.SomeError: what happened``, and the lines that still belong to the message.
_RAISED = re.compile(
    r"^((?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit))"
    r"(?:: (.*(?:\n(?!\s*$|The above |During |Failed to apply ).+)*))?",
    re.M,
)

#: What Ray puts around a cause.
_WRAPPERS = ("ray.", "UserCodeException", "SystemException")


def cause_of(error: BaseException) -> DatusError:
    """Return the error that a user should read: a worker's own DatusError, else type and message of the first cause.

    `error` is what Ray raised in the driver; it carries the worker's trace as text.
    """
    # Ray makes a class that is both its own error and ours, with a whole trace for a message.
    if isinstance(error, DatusError) and not isinstance(error, RayError):
        return error
    raised = [(name, " ".join((text or "").split())) for name, text in _RAISED.findall(_plain(str(error)))]
    causes = [(name, text) for name, text in raised if not name.startswith(_WRAPPERS)]
    ours = [text for name, text in causes if name.startswith("datus2_ray.errors.")]
    if ours:
        return DatusError(ours[-1])
    if causes:
        name, text = causes[0]
        return DatusError(f"a worker failed: {name}: {text}")
    lines = _plain(str(error)).split("\n")
    return DatusError(f"a worker failed: {type(error).__name__}: {lines[0].strip()}")


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
