"""What stages say of segments and clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from datus2_ray.store.facts.base import Facts
from datus2_ray.store.facts.fit import TokenFit


@dataclass(frozen=True)
class Sampled(Facts):
    """The number of clusters that was chosen, and the scores of all that were compared."""

    stage: ClassVar[str] = "sample"
    k: int
    scores: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Discovered(Facts):
    """``unstructured`` is the number of images whose patches are one community: no structure was found in them.

    Where patches are the units, none is sought and none is counted. ``found`` are the connected parts of communities,
    those that are too small to be valid segments included.
    """

    stage: ClassVar[str] = "discover"
    unstructured: int = 0
    found: int = 0


@dataclass(frozen=True)
class HeadLearned(TokenFit):
    """How a head was learned.

    ``codes`` is the length of a code; ``shifts`` are those of the losses of an image, one like it, and another.
    """

    stage: ClassVar[str] = "head"
    codes: int
    shifts: tuple[float, ...]


@dataclass(frozen=True)
class Encoded(Facts):
    """Nothing beside the table."""

    stage: ClassVar[str] = "codes"


@dataclass(frozen=True)
class Clustered(Facts):
    """Outcome of k-means; ``centroids`` is the number of fine clusters.

    `votes` is the number of clusterings, of which the other facts are those of the first.
    """

    stage: ClassVar[str] = "cluster"
    centroids: int
    segments: int
    inertia: float
    iterations: int
    converged: bool
    restart: int
    restart_inertias: tuple[float, ...]
    metric: str
    votes: int = 1


@dataclass(frozen=True)
class TokensMerged(Facts):
    """Outcome of k-means in fine clusters of patch tokens.

    `centroids` is the number of fine clusters, `share` the share of the tokens that they were fitted on, `votes` the
    number of clusterings, of which the other facts are those of the first.
    """

    stage: ClassVar[str] = "token_tree"
    centroids: int
    share: float
    inertia: float
    iterations: int
    votes: int = 1


@dataclass(frozen=True)
class TokensClustered(Facts):
    """Outcome of k-means on patch tokens."""

    stage: ClassVar[str] = "baseline"
    inertia: float
    iterations: int


@dataclass(frozen=True)
class Labelled(Facts):
    """``areas`` are the pixels of the segments of every fine cluster, about; ``pixels`` are those of all images."""

    stage: ClassVar[str] = "label"
    areas: tuple[int, ...] = ()
    pixels: int = 0
