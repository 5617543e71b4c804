"""Many paths, and the files that they name, in a few blocks of memory.

A million of Python's strings take 100 MB, and a list of objects as much again: here a path takes its bytes and eight
more. Texts become Python's a few thousand at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datus2_ray.store.walk import FileEntry

#: Texts that are Python's own at a time.
CHUNK = 1 << 14

Positions = NDArray[np.int64]

#: Called with how much more is done.
Show = Callable[[int], None]


def quiet(more: int) -> None:
    """Show nothing."""


class Paths(Sequence[str]):
    """A sequence of texts that cannot be changed; equal to any sequence of the same texts.

    Parameters
    ----------
    texts : pyarrow.Array of large_string
        The texts; a null is read as "".
    show : callable
        Called with the number of texts whenever some were read in order.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, texts: Any, show: Show = quiet) -> None:
        self.texts, self.show = texts, show

    @staticmethod
    def of(texts: Iterable[str | None], show: Show = quiet) -> Paths:
        """Return texts of any origin; those that are in this form already as they are."""
        if isinstance(texts, Paths):
            return texts
        data, lengths, source = bytearray(), array("i"), iter(texts)
        # Into one block: joining arrays of some thousand texts would hold all of them twice.
        while chunk := [(text or "").encode() for text in islice(source, CHUNK)]:
            data += b"".join(chunk)
            lengths.extend(map(len, chunk))
        ends = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        return Paths(pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(ends), pa.py_buffer(data)), show)

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Paths: ...
    def __getitem__(self, at: int | slice) -> str | Paths:
        """Return a text, or some of them."""
        if isinstance(at, slice):
            return Paths(self.texts[at], self.show)
        return self.texts[int(at)].as_py() or ""

    def __iter__(self) -> Iterator[str]:
        """Yield all texts."""
        for start in range(0, len(self), CHUNK):
            yield from self._read(self.texts[start : start + CHUNK])

    def __eq__(self, other: object) -> bool:
        """Return whether a sequence has the same texts."""
        return isinstance(other, Sequence) and list(self) == list(other)

    def at(self, positions: Positions) -> Iterator[str]:
        """Yield the texts at some positions."""
        for start in range(0, len(positions), CHUNK):
            yield from self._read(self.texts.take(pa.array(positions[start : start + CHUNK])))

    def take(self, positions: Positions) -> Paths:
        """Return the texts at some positions; at a position of -1 there is none."""
        if len(positions) == len(self) and np.array_equal(positions, np.arange(len(self))):
            return self
        missing = positions < 0
        return Paths(self.texts.take(pa.array(positions, mask=missing if missing.any() else None)), self.show)

    def without(self, prefix: str) -> Paths:
        """Return the texts without a prefix that all of them have."""
        return Paths(pc.utf8_slice_codeunits(self.texts, len(prefix)), self.show)

    def order(self) -> Positions:
        """Return the positions in the order of the texts."""
        order: Positions = pc.sort_indices(self.texts).to_numpy().astype(np.int64)
        return order

    def find(self, names: Paths) -> Positions:
        """Return the position of each name, -1 for a null and where it is none of these texts, which are sorted."""
        order = names.order()[: len(names) - names.texts.null_count]
        ordered, positions = names.take(order), np.full(len(names), -1)
        # A piece at a time: a table of all would take twice the memory of the texts.
        for start in range(0, len(self), CHUNK):
            piece = self[start : start + CHUNK]
            first, last = bisect_left(ordered, piece[0]), bisect_right(ordered, piece[-1])
            found = pc.index_in(ordered.texts[first:last], value_set=piece.texts)
            inside = found.is_valid().to_numpy(zero_copy_only=False)
            positions[order[first:last][inside]] = found.drop_null().to_numpy() + start
        return positions

    def _read(self, some: Any) -> Iterator[str]:
        yield from (text or "" for text in some.to_pylist())
        self.show(len(some))


class Files(Sequence[FileEntry]):
    """The files of a source, sorted by path; `sizes` are in bytes, `times` in nanoseconds."""

    def __init__(self, paths: Paths, sizes: Positions, times: Positions) -> None:
        self.paths, self.sizes, self.times = paths, sizes, times

    @staticmethod
    def of(entries: Iterable[FileEntry], show: Show = quiet) -> Files:
        """Return files that come in any order; `show` is called where their paths are read later."""
        sizes, times = array("q"), array("q")

        def paths() -> Iterator[str]:
            for entry in entries:
                sizes.append(entry.size)
                times.append(entry.modified_ns)
                yield entry.path

        found = Paths.of(paths(), show)
        order = found.order()
        return Files(found.take(order), np.array(sizes)[order], np.array(times)[order])

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> FileEntry: ...
    @overload
    def __getitem__(self, at: slice) -> Files: ...
    def __getitem__(self, at: int | slice) -> FileEntry | Files:
        """Return a file, or some of them."""
        if isinstance(at, slice):
            return Files(self.paths[at], self.sizes[at], self.times[at])
        return FileEntry(self.paths[at], int(self.sizes[at]), int(self.times[at]))

    def __iter__(self) -> Iterator[FileEntry]:
        """Yield all files."""
        for path, size, time in zip(self.paths, self.sizes, self.times, strict=True):
            yield FileEntry(path, int(size), int(time))
