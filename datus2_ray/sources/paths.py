"""Many paths: a few blocks in memory, the rest in a temporary file.

A million of Python's strings take 100 MB. Texts become Python's a few thousand at a time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datus2_ray.sources import blocks
from datus2_ray.sources.blocks import Blocks, Positions
from datus2_ray.sources.sorting import sort_rows

__all__ = ["Paths", "Positions", "Show", "quiet"]

_SCHEMA = pa.schema([("text", pa.string())])

#: Called with how much more is done.
Show = Callable[[int], None]


def quiet(more: int) -> None:
    """Show nothing."""


class Paths(Sequence[str]):
    """A sequence of texts that cannot be changed; equal to any sequence of the same texts.

    Parameters
    ----------
    rows : Blocks
        The texts; a null is read as "".
    column : str
        Name of the column of `rows` that has them.
    show : callable
        Called with the number of texts whenever some were read in order.
    start, stop : int
        First row, and the one after the last; None for the end.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self, rows: Blocks, column: str = "text", show: Show = quiet, start: int = 0, stop: int | None = None
    ) -> None:
        self._rows, self._column, self.show = rows, column, show
        self._start, self._stop = start, len(rows) if stop is None else stop

    @staticmethod
    def of(texts: Iterable[str | None], show: Show = quiet) -> Paths:
        """Return texts of any origin; those that are in this form already as they are."""
        if isinstance(texts, Paths):
            return texts
        source = iter(texts)

        def arrays() -> Iterator[Any]:
            while some := list(islice(source, blocks.CHUNK)):
                yield pa.array([text or "" for text in some], pa.string())

        return Paths._of_arrays(arrays(), show)

    @staticmethod
    def _of_arrays(arrays: Iterable[Any], show: Show) -> Paths:
        return Paths(Blocks.of((pa.record_batch([array], schema=_SCHEMA) for array in arrays), _SCHEMA), show=show)

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Paths: ...
    def __getitem__(self, at: int | slice) -> str | Paths:
        """Return a text, or some of them."""
        numbers = range(self._start, self._stop)[at]
        if isinstance(numbers, range):
            if numbers.step == 1:
                return Paths(self._rows, self._column, self.show, numbers.start, max(numbers.start, numbers.stop))
            return self.take(np.array(numbers, np.int64) - self._start)
        (found,) = next(self._rows.read(numbers, numbers + 1)).column(self._column).to_pylist()
        return found or ""

    def __iter__(self) -> Iterator[str]:
        """Yield all texts."""
        for some in self.arrays():
            yield from self._texts(some)

    def __eq__(self, other: object) -> bool:
        """Return whether a sequence has the same texts."""
        return isinstance(other, Sequence) and list(self) == list(other)

    def arrays(self) -> Iterator[Any]:
        """Yield all texts as arrays of Arrow."""
        return (batch.column(self._column) for batch in self._rows.read(self._start, self._stop))

    def at(self, positions: Positions) -> Iterator[str]:
        """Yield the texts at some positions."""
        for some in self._taken(positions):
            yield from self._texts(some)

    def take(self, positions: Positions) -> Paths:
        """Return the texts at some positions; at a position of -1 there is none."""
        return Paths._of_arrays(self._taken(positions), self.show)

    def where(self, wanted: NDArray[np.bool_]) -> Paths:
        """Return the texts for which `wanted` is true."""
        if wanted.all():
            return self

        def kept() -> Iterator[Any]:
            done = 0
            for array in self.arrays():
                yield array.filter(pa.array(wanted[done : done + len(array)]))
                done += len(array)

        return Paths._of_arrays(kept(), self.show)

    def without(self, prefix: str) -> Paths:
        """Return the texts without a prefix that all of them have."""
        return Paths._of_arrays((pc.utf8_slice_codeunits(array, len(prefix)) for array in self.arrays()), self.show)

    def sorted(self) -> Paths:
        """Return the texts in their order, of which none is there twice."""
        if self.is_sorted():
            return self
        return Paths(
            sort_rows((pa.record_batch([array], schema=_SCHEMA) for array in self.arrays()), _SCHEMA), show=self.show
        )

    def is_sorted(self) -> bool:
        """Return whether the texts are in their order."""
        before = ""
        for array in self.arrays():
            if array[0].as_py() < before or pc.any(pc.greater(array[:-1], array[1:])).as_py():
                return False
            before = array[-1].as_py()
        return True

    def place(self, text: str) -> int:
        """Return the position of the first of these texts, which are sorted, that is not before `text`."""
        # Only one block is read, not one for every step.
        number = max(0, bisect_left(self._firsts, text) - 1)
        first = number * self._rows.chunk - self._start
        start, stop = max(0, first), min(len(self), max(0, first + self._rows.chunk))
        return bisect_left(self, text, start, max(start, stop))

    def find(self, names: Paths) -> Positions:
        """Return the position of each name, -1 for a null and where it is none of these texts, which are sorted."""
        return np.concatenate([np.empty(0, np.int64), *map(self._find, names.arrays())])

    def _find(self, names: Any) -> Positions:
        positions = np.full(len(names), -1)
        order = pc.sort_indices(names).to_numpy()[: len(names) - names.null_count]
        ordered, done = names.take(pa.array(order)), 0
        while done < len(order) and self._rows:
            number = max(0, bisect_right(self._firsts, ordered[done].as_py()) - 1)
            last = len(order)
            if number + 1 < len(self._firsts):
                after = self._firsts[number + 1]
                last = bisect_left(range(len(order)), after, done, key=lambda at: ordered[at].as_py())
            at = pc.index_in(ordered[done:last], value_set=self._rows.block(number).column(self._column))
            found = at.fill_null(-1).to_numpy().astype(np.int64)
            found = np.where(found >= 0, found + number * self._rows.chunk - self._start, -1)
            positions[order[done:last]] = np.where((found >= 0) & (found < len(self)), found, -1)
            done = last
        return positions

    @cached_property
    def _firsts(self) -> list[str]:
        """The first text of every block."""
        every = range(0, len(self._rows), self._rows.chunk)
        return [next(self._rows.read(at, at + 1)).column(self._column)[0].as_py() or "" for at in every]

    def _taken(self, positions: Positions) -> Iterator[Any]:
        for start in range(0, len(positions), blocks.CHUNK):
            some = positions[start : start + blocks.CHUNK]
            yield self._rows.take(np.where(some >= 0, some + self._start, -1)).column(self._column)

    def _texts(self, some: Any) -> Iterator[str]:
        yield from (text or "" for text in some.to_pylist())
        self.show(len(some))
