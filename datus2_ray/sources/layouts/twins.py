"""Files that have the names of others: whether one of two is the label map of the other is seen by looking at some."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from datus2_ray.core.images.look import Look
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.hashes import Index, hashes, repeated
from datus2_ray.sources.layouts.layout import LookAt
from datus2_ray.sources.layouts.match import CUT
from datus2_ray.sources.layouts.roles import fold, split_path
from datus2_ray.sources.paths import Paths, Positions

#: Files of a group that are looked at, and pairs of groups: however many files there are, some hundred are read.
FILES_LOOKED_AT, GROUPS_LOOKED_AT = 6, 16


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
    begun = np.zeros(len(others), np.uint8)

    def names() -> Iterator[str]:
        for number, path in enumerate(files.at(others)):
            folder, stem, _ = split_path(path)
            yield fold(stem)
            yield f"{folder}/{stem}"
            # The longest first; a stem has at most 255 bytes.
            for cut in reversed(list(CUT.finditer(stem))):
                begun[number] += 1
                yield f"{folder}/{stem[: cut.start()]}"

    values = hashes(names())
    starts = np.cumsum(begun + 2, dtype=np.int64) - begun - 2
    stems, places = values[starts], values[starts + 1]
    begins = np.delete(values, np.concatenate([starts, starts + 1]))
    same = np.flatnonzero(repeated(stems))
    first = same[Index(stems[same]).first(stems[same])]
    base = Index(places).first(begins)
    owners = np.repeat(np.arange(len(others)), begun)[base >= 0]
    longer, at = np.unique(owners, return_index=True)
    pairs = np.concatenate([np.stack([same, first])[:, same != first], np.stack([longer, base[base >= 0][at]])], axis=1)
    mine, theirs = others[pairs]
    return mine, theirs


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
