"""What stages say of masks of classes, as a person named them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from datus2_ray.core.names.names import NamedClass
from datus2_ray.store.facts.base import Facts
from datus2_ray.store.facts.fit import SegmentFit


@dataclass(frozen=True)
class Named(Facts):
    """The classes whose ids the masks hold."""

    stage: ClassVar[str] = "named"
    classes: tuple[NamedClass, ...]


@dataclass(frozen=True)
class Taught(SegmentFit):
    """How a layer on tokens was fitted to the classes of named segments.

    ``names`` is the hash of the names that it was fitted to. ``agreements`` has one share: of the tokens whose segment
    the layer gives the class that it was named.
    """

    stage: ClassVar[str] = "teach"
    classes: tuple[NamedClass, ...]
    names: str


@dataclass(frozen=True)
class TaughtMasks(Facts):
    """The classes whose ids the masks hold."""

    stage: ClassVar[str] = "taught"
    classes: tuple[NamedClass, ...]
