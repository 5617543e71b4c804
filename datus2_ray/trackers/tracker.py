"""What a tracker is given: settings, the result of every stage with its curves, and the scores and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit

#: Where a stage that has curves writes them; the first column counts the steps.
HISTORY = "history.parquet"


@dataclass(frozen=True)
class Result:
    """The result of a stage.

    Parameters
    ----------
    counter : str
        What the steps of its curves are: ``step`` or ``iteration``.
    curves : mapping of str to list of (int, float)
        Step and value of every point, by the name of the curve.
    """

    stage: str
    fingerprint: str
    counter: str = "step"
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)


class Tracker(Protocol):
    """A run of a tracker; every call may be made again, in a later process too, and then adds nothing."""

    def log(self, result: Result) -> None:
        """Send the result of a stage."""

    def finish(self, numbers: Mapping[str, float], report: bytes | None) -> None:
        """Send scores and counts by their names, and the HTML report, and mark the run as finished."""


def read_result(commit: Commit[Any]) -> Result:
    """Read the curves of a stage's result."""
    stage, uri = commit.facts.stage, commit.path(HISTORY)
    table = storage.if_there(parquet.read_table, uri)
    if table is None:
        return Result(stage, commit.fingerprint)
    counter, *names = table.column_names
    steps = table[counter].to_pylist()
    curves = {
        f"{stage}/{name}": [
            (step, float(value))
            for step, value in zip(steps, table[name].to_pylist(), strict=True)
            if value is not None
        ]
        for name in names
    }
    return Result(stage, commit.fingerprint, counter, {name: curve for name, curve in curves.items() if curve})


def flatten(values: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings, by their keys joined."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, separator, f"{prefix}{name}{separator}"))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def numbers_in(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in nested mappings, by their keys joined by slashes."""
    flat = flatten(values, "/")
    return {name: float(value) for name, value in flat.items() if isinstance(value, int | float)}
