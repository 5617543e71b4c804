"""What every fit to patch tokens says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.store.facts.base import Facts


@dataclass(frozen=True)
class TokenFit(Facts):
    """A fit to ``tokens`` of ``images``, a ``share`` of all.

    ``backbone`` is the fingerprint of the weights whose tokens it reads, ``dim`` their length; ``model`` is the file.
    """

    dim: int
    backbone: str
    images: int
    share: float
    tokens: int
    workers: int
    steps: int
    model: str


@dataclass(frozen=True)
class SegmentFit(TokenFit):
    """A fit of a layer to the classes of segments.

    ``agreements`` are the shares of the tokens that kept their class in each round; ``loss`` is the mean over the steps
    of the last one.
    """

    agreements: tuple[float, ...]
    loss: float
