"""Blocks of rows, and how they are asked.

A question is a pure function of one block and of small arguments; its answer is small too (sums, a few rows). The
driver asks every block the same question and combines the answers strictly in block order, so a result depends on how
the rows are cut into blocks, but not on where the blocks are or which answers first.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Concatenate, ParamSpec, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.cluster.distances import FloatArray
from datus2_ray.core.cluster.threads import side_by_side

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows, float16, float32 or float64 [n, d], and the global number of the first.

    The weights, float64 [n], are positive; a row of weight 3 counts as three equal rows. The areas, float64 [n], are
    the patches that a row stands for; k-means does not look at them.
    """

    x: FloatArray
    weights: NDArray[np.float64]
    areas: NDArray[np.float64]
    first_row: int


class Transform(Protocol):
    """A map from rows to rows whose result for a row does not depend on the other rows of a call."""

    def transform(self, x: FloatArray) -> FloatArray:
        """Map rows, float [n, d], to float [n, p]."""
        ...


class Widening:
    """Convert rows of float16 to float32 once: k-means would do so in every pass, for half of its time."""

    def transform(self, x: FloatArray) -> FloatArray:
        """Convert rows of float16; others stay as they are."""
        return x.astype(np.float32) if x.dtype == np.float16 else x


class RowBlocks(Protocol):
    """Row blocks that can be asked; all that k-means and PCA need to know about where the rows are."""

    def ask(self, question: Callable[Concatenate[RowBlock, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask every block ``question(block, *args, **kwargs)`` and return the answers in block order.

        The question is a pure function of a module, so that it can be pickled.
        """
        ...

    def each(self, function: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Return the results, in the order of the items, of a function that asks questions and projects nothing."""
        ...

    def project(self, step: Transform) -> None:
        """Replace every row, for all later questions, by its transform."""
        ...


class LocalRows:
    """Row blocks in this process: one per array, float [n_i, d]; weights and areas of all rows are 1 by default."""

    def __init__(
        self,
        arrays: Sequence[FloatArray],
        weights: Sequence[FloatArray] | None = None,
        areas: Sequence[FloatArray] | None = None,
    ) -> None:
        self._given_up = threading.Event()
        first_rows = np.cumsum([0, *map(len, arrays)]).tolist()[:-1]
        ones = [np.ones(len(x)) for x in arrays]
        self.blocks = [
            RowBlock(x, np.asarray(w, dtype=np.float64), np.asarray(a, dtype=np.float64), first)
            for x, w, a, first in zip(arrays, weights or ones, areas or ones, first_rows, strict=True)
        ]

    def ask(self, question: Callable[Concatenate[RowBlock, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ask one block after the other; RuntimeError where a call beside this one failed, see :meth:`each`."""
        if self._given_up.is_set():
            raise RuntimeError("a call beside this one failed")
        return [question(block, *args, **kwargs) for block in self.blocks]

    def each(self, function: Callable[[S], T], items: Sequence[S]) -> list[T]:
        """Call a function for some items side by side, in threads: the questions of one alone leave cores idle.

        Where one fails, the others end at their next question.
        """
        return side_by_side(function, items, self._given_up)

    def project(self, step: Transform) -> None:
        """Transform all blocks; the arrays given at construction stay as they are."""
        self.blocks = [replace(block, x=step.transform(block.x)) for block in self.blocks]


class Addable(Protocol):
    """An answer that can be added to the next block's answer."""

    def __add__(self, other: Self, /) -> Self:
        """Combine two answers."""
        ...


A = TypeVar("A", bound=Addable)


def combined(answers: list[A]) -> A:
    """Add the answers of one block or more strictly in block order, so that the rounding is always the same."""
    return functools.reduce(operator.add, answers)


def own_rows(block: RowBlock, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions within a block of those of the global row numbers that lie in it, in their given order."""
    local = rows - block.first_row
    return local[(local >= 0) & (local < len(block.x))]
