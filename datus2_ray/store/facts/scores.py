"""What stages say of how good masks are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from datus2_ray.store.facts.base import Facts


@dataclass(frozen=True)
class Evaluated(Facts):
    """What ``metrics.json`` holds."""

    stage: ClassVar[str] = "evaluate"
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NamesScored(Facts):
    """What ``names`` of ``metrics.json`` holds."""

    stage: ClassVar[str] = "score_names"
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probed(Facts):
    """mIoU and pixel accuracy, in [0, 1], of a linear probe over ``images``, each scored by the half it is not in."""

    stage: ClassVar[str] = "probe"
    images: int
    miou: float
    pixel_accuracy: float
