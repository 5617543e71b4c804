"""Files that have the names of others: whether one of two is the label map of the other is seen by looking at some."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datus2_ray.core.images.look import Look
from datus2_ray.errors import UsageError
from datus2_ray.sources import blocks
from datus2_ray.sources.blocks import Blocks
from datus2_ray.sources.layouts.hashes import Hashes, Index, Read, among, may_occur, repeated
from datus2_ray.sources.layouts.layout import LookAt
from datus2_ray.sources.layouts.match import CUT
from datus2_ray.sources.layouts.roles import fold, split_path
from datus2_ray.sources.paths import Paths, Positions

#: Files of a group that are looked at, and pairs of groups: however many files there are, some hundred are read.
FILES_LOOKED_AT, GROUPS_LOOKED_AT = 6, 16

_NAMES = pa.schema([("stem", pa.int64()), ("place", pa.int64()), ("begins", pa.list_(pa.int64()))])


def find_twins(files: Paths, others: Positions, masks: str | None, look_at: LookAt) -> tuple[Positions, Positions]:
    """Return label maps, and the image of each, among files that only have the names of others.

    Pairs of files with one name are grouped by how their paths differ; some pairs of every frequent group are looked
    at.

    Raises
    ------
    UsageError
        If files may be label maps or not, unless `masks` says it.
    """
    firsts, seconds = _namesakes(files, others)
    if not len(firsts):
        return firsts, seconds
    groups: dict[tuple[str, ...], array[int]] = defaultdict(lambda: array("q"))
    for number, (path, base) in enumerate(zip(files.at(firsts), files.at(seconds), strict=True)):
        groups[_difference(path, base)].append(number)
    frequent = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:GROUPS_LOOKED_AT]
    image_of = np.full(len(files), -1)
    for _, numbers in frequent:
        first, second = firsts[np.array(numbers)], seconds[np.array(numbers)]
        looks = majority(files, first, look_at), majority(files, second, look_at)
        for (mine, other), (maps, images) in zip((looks, looks[::-1]), ((first, second), (second, first)), strict=True):
            if mine == "map" and other not in ("map", None):
                image_of[maps] = images
            elif mine == "grey" and other in ("flat", "picture"):
                if masks is None:
                    raise UsageError(
                        f"is {files[maps[0]]} the mask of {files[images[0]]}? It has its name, and is grey, but not in "
                        "few values; give --masks PATTERN if such files are ground truth, or --masks none to leave "
                        "them out"
                    )
                image_of[maps] = images
    twins = np.flatnonzero(image_of >= 0)
    twins = twins[image_of[image_of[twins]] < 0]
    return twins, image_of[twins]


def majority(files: Paths, positions: Positions, look_at: LookAt) -> Look | None:
    """Return what most of some files look like."""
    step = max(1, len(positions) // FILES_LOOKED_AT)
    chosen: Sequence[str] = list(files.at(positions[::step][:FILES_LOOKED_AT]))
    looks = Counter(look for look in look_at(chosen) if look is not None)
    return looks.most_common(1)[0][0] if looks else None


def _namesakes(files: Paths, others: Positions) -> tuple[Positions, Positions]:
    """Return pairs of files of which the first has the name of the second, or begins with it in the same folder."""
    names = Blocks.of(_names(files, others), _NAMES)
    pairs = np.concatenate([_same(names), _begun(names)], axis=1)
    mine, theirs = others[pairs]
    return mine, theirs


def _names(files: Paths, others: Positions) -> Iterator[Any]:
    """Yield the hashes of names as record batches: of stems, of paths without suffix, and of what these begin with."""
    for start in range(0, len(others), blocks.CHUNK):
        stems, places, begins, ends = array("q"), array("q"), array("q"), array("i", [0])
        for path in files.at(others[start : start + blocks.CHUNK]):
            folder, stem, _ = split_path(path)
            stems.append(hash(fold(stem)))
            places.append(hash(f"{folder}/{stem}"))
            # The longest first.
            begins.extend([hash(f"{folder}/{stem[: cut.start()]}") for cut in CUT.finditer(stem)][::-1])
            ends.append(len(begins))
        lists = pa.ListArray.from_arrays(np.array(ends), np.array(begins))
        yield pa.record_batch([pa.array(np.array(stems)), pa.array(np.array(places)), lists], schema=_NAMES)


def _same(names: Blocks) -> Positions:
    """Return numbers of files, int64 [2, N]: one that has the stem of an earlier one, and the first of that stem."""

    def stems() -> Iterator[Hashes]:
        return (batch.column("stem").to_numpy() for batch in names.read())

    same, values = _where(stems, partial(among, repeated(stems, len(names))))
    first = same[Index(values).first(values)]
    return np.stack([same, first])[:, same != first]


def _begun(names: Blocks) -> Positions:
    """Return numbers of files, int64 [2, N]: one whose stem begins with that of another of its folder, and that."""

    def places() -> Iterator[Hashes]:
        return (batch.column("place").to_numpy() for batch in names.read())

    def begins() -> Iterator[Hashes]:
        return (batch.column("begins").flatten().to_numpy() for batch in names.read())

    at, values = _where(begins, may_occur(places, len(names)))
    bases, theirs = _where(places, partial(among, np.unique(values)))
    found = Index(theirs).first(values)
    at, found = at[found >= 0], found[found >= 0]
    counts = [batch.column("begins").value_lengths().to_numpy() for batch in names.read()]
    ends = np.cumsum(np.concatenate([np.empty(0, np.int64), *counts]))
    longer, first = np.unique(np.searchsorted(ends, at, "right"), return_index=True)
    return np.stack([longer, bases[found[first]]])


def _where(read: Read, wanted: Callable[[Hashes], NDArray[np.bool_]]) -> tuple[Positions, Hashes]:
    """Return the numbers of those hashes for which `wanted` is true, and these hashes."""
    start = 0
    numbers, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for some in read():
        at = np.flatnonzero(wanted(some))
        numbers.append(at + start)
        values.append(some[at])
        start += len(some)
    return np.concatenate(numbers), np.concatenate(values)


def _difference(path: str, base: str) -> tuple[str, ...]:
    """Return in what two paths differ: folders without those at both ends, what a stem has more, and suffixes."""
    (folder, stem, suffix), (other, its, its_suffix) = split_path(path), split_path(base)
    mine, theirs = folder.split("/"), other.split("/")
    while mine and theirs and mine[0] == theirs[0]:
        mine, theirs = mine[1:], theirs[1:]
    while mine and theirs and mine[-1] == theirs[-1]:
        mine, theirs = mine[:-1], theirs[:-1]
    more = stem[len(its) :] if len(stem) > len(its) else ""
    return "/".join(mine), "/".join(theirs), more, suffix, its_suffix
