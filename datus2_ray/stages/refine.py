"""Refine: images + initial masks → DeepLabV3, trained by Ray Train's ``TorchTrainer``; the best one is kept."""

from __future__ import annotations

VERSION = 1

HISTORY = "history.parquet"

#: How often a worker may die before the refinement gives up; each time it goes on from the last checkpoint.
MOST_FAILURES = 3
