"""What every stage says of its result beside its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Facts:
    """Facts of a stage; ``stage`` is its name, and the name of its folder."""

    stage: ClassVar[str]
