"""Counters of what a run does, exported by every Ray node for Prometheus beside Ray's own."""

from __future__ import annotations

from functools import cache

from ray.util.metrics import Counter, Gauge

#: All carry the tag ``stage``.
IMAGES = "datus2_images"
SEGMENTS = "datus2_segments"
ERRORS = "datus2_errors"
SECONDS = "datus2_stage_seconds"


@cache
def _counter(name: str, description: str) -> Counter:
    return Counter(name, description, tag_keys=("stage",))


@cache
def _gauge(name: str, description: str) -> Gauge:
    return Gauge(name, description, tag_keys=("stage",))


def count_images(stage: str, done: int, errors: int) -> None:
    """Count images that a stage has done, and those that it could not use."""
    if done:
        _counter(IMAGES, "Images that a stage has done.").inc(done, {"stage": stage})
    if errors:
        _counter(ERRORS, "Images that a stage could not use.").inc(errors, {"stage": stage})


def count_segments(stage: str, found: int) -> None:
    """Count the valid segments that a stage has seen."""
    if found:
        _counter(SEGMENTS, "Valid segments.").inc(found, {"stage": stage})


def set_seconds(stage: str, seconds: float) -> None:
    """Note how long a stage took when it last did its work."""
    _gauge(SECONDS, "Seconds that a stage took when it last did its work.").set(seconds, {"stage": stage})
