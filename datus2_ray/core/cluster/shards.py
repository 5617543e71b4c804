"""Fixed shards of rows, and how they are asked.

A question is a pure function of one shard and of small arguments; its answer is small too (sums, a few rows). The
driver asks every shard the same question and combines the answers strictly in shard order, so a result depends on how
the rows are cut into shards, but not on where the shards are or who answers first.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.distances import FloatArray

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """A run of consecutive rows.

    Parameters
    ----------
    x : float16, float32 or float64 [n, d]
        The rows.
    weights : float64 [n]
        A positive weight a row; weight 3 counts as the row three times.
    first_row : int
        Global number of the first row.
    """

    x: FloatArray
    weights: NDArray[np.float64]
    first_row: int


class Shards(Protocol):
    """Shards that can be asked; all that k-means and PCA need to know about where the rows are."""

    def ask(self, question: Callable[Concatenate[Shard, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask every shard ``question(shard, *args, **kwargs)`` and list the answers in shard order.

        Parameters
        ----------
        question : callable
            A pure function of a module, so that it can be pickled.
        *args, **kwargs
            The same for all shards.

        Returns
        -------
        list
        """
        ...


class LocalShards:
    """Shards in this process.

    Parameters
    ----------
    arrays : sequence of float [n_i, d]
        The rows of each shard, in the order of their global numbers.
    weights : sequence of float [n_i], optional
        Their weights; 1 where not given.
    """

    def __init__(self, arrays: Sequence[FloatArray], weights: Sequence[FloatArray] | None = None) -> None:
        first_rows = np.cumsum([0, *map(len, arrays)])
        if weights is None:
            weights = [np.ones(len(x)) for x in arrays]
        self.shards = [
            Shard(x, np.asarray(w, dtype=np.float64), int(first))
            for x, w, first in zip(arrays, weights, first_rows, strict=False)
        ]

    def ask(self, question: Callable[Concatenate[Shard, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Answer :meth:`Shards.ask` one shard after the other."""
        return [question(shard, *args, **kwargs) for shard in self.shards]


class Addable(Protocol):
    """An answer that can be added to the next shard's answer."""

    def __add__(self, other: Self, /) -> Self:
        """Combine two answers."""
        ...


A = TypeVar("A", bound=Addable)


def combined(answers: list[A]) -> A:
    """Add answers strictly in shard order, so that the rounding is always the same.

    Parameters
    ----------
    answers : list
        One answer a shard, at least one.
    """
    return functools.reduce(operator.add, answers)


def own_rows(shard: Shard, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the positions, within a shard, of those of the rows asked for that lie in it.

    Parameters
    ----------
    shard : Shard
    rows : int64 [m]
        Global row numbers.

    Returns
    -------
    int64 [l], l <= m
        In the order asked for.
    """
    local = rows - shard.first_row
    return local[(local >= 0) & (local < len(shard.x))]
