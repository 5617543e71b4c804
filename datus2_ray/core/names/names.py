"""Names: classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NamedClass:
    """A class; pixels of one with `ignore` are left out of masks and scores."""

    name: str
    colour: str
    ignore: bool = False
