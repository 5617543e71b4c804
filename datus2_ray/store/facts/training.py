"""What stages say of what was trained: layers, networks, backbones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from datus2_ray.store.facts.base import Facts
from datus2_ray.store.facts.fit import SegmentFit


@dataclass(frozen=True)
class LayerFitted(SegmentFit):
    """How a layer on tokens was fitted to the clusters of segments."""

    stage: ClassVar[str] = "em"
    clusters: int


@dataclass(frozen=True)
class Refined(Facts):
    """What was trained, and which checkpoint is kept; ``best_loss`` is its held-out loss.

    ``targets`` is the stage whose masks were learned: ``label`` or ``em``.
    """

    stage: ClassVar[str] = "refine"
    loss: str
    size: int
    clusters: int
    workers: int
    batch_size: int
    steps: int
    epochs: int
    best_epoch: int
    best_step: int
    best_loss: float
    checkpoint: str
    targets: str
    encoder: str
    encoder_start: str
    supervised: bool
    output_stride: int


@dataclass(frozen=True)
class Predicted(Facts):
    """Nothing beside the table."""

    stage: ClassVar[str] = "predict"


@dataclass(frozen=True)
class Pretrained(Facts):
    """What was trained, and how it scores without labels."""

    stage: ClassVar[str] = "pretrain"
    start: dict[str, Any] | None
    parameters: int
    images: int
    crops: int
    workers: int
    dtype: str
    loss: float
    effective_rank: float | None
