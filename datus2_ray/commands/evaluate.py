"""The scores of finished runs, which are comparable only where they see the same images and have the same K."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import RunFolder

#: Settings that say which images a run sees.
IMAGES = ("source", "dataset", "split", "limit")


def read_summary(run: str) -> dict[str, Any]:
    """Return what ``summary.json`` of a finished run holds; raise a StorageError if `run` is none."""
    summary: dict[str, Any] = storage.read_json(RunFolder.of_finished(run).path("summary.json"))
    return summary


def read_metrics(runs: Sequence[str]) -> list[dict[str, Any]]:
    """Return the metrics of several finished runs.

    Raises
    ------
    UsageError
        If a run has no scores, or differs from the first one in its images, protocol, classes or number of clusters.
    """
    found = [read_summary(run)["metrics"] for run in runs]
    images = [_images(run) for run in runs]
    for run, metrics, seen in zip(runs, found, images, strict=True):
        if metrics is None:
            raise UsageError(f"{run} has no scores: its images have no ground truth")
        for what, of_first, of_run in (
            ("images", images[0], seen),
            ("images", found[0]["images"], metrics["images"]),
            ("protocol", *(one.get("protocol", "datus2") for one in (found[0], metrics))),
            ("classes", found[0]["classes"], metrics["classes"]),
            ("K", found[0]["clusters"], metrics["clusters"]),
        ):
            if of_first != of_run:
                raise UsageError(
                    f"{runs[0]} and {run} differ in their {what}: {_text(of_first)} and {_text(of_run)}; a mean needs "
                    "runs over the same images with the same K"
                )
    return found


def _images(run: str) -> dict[str, Any]:
    config = storage.read_json(storage.join(run, "config.json"))
    return {name: config.get(name) for name in IMAGES if config.get(name) is not None}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return ", ".join(value) if isinstance(value, list) else str(value)
