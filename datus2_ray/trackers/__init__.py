"""Experiment trackers of others: what a run computed, sent to one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from datus2_ray.trackers.mlflow import MlflowTracker
from datus2_ray.trackers.tracker import Tracker
from datus2_ray.trackers.wandb import WandbTracker

#: Every tracker, by its name in the settings.
TRACKERS: dict[str, Callable[[str, str, Mapping[str, Any]], Tracker]] = {"mlflow": MlflowTracker, "wandb": WandbTracker}
