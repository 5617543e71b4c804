"""Which images a label map is named like: by the folder without words of roles, and by the name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from datus2_ray.sources.layouts.hashes import Hashes, Index, hashes
from datus2_ray.sources.layouts.roles import fold, folder_role, split_path, stem_role
from datus2_ray.sources.paths import Paths, Positions

#: Where a name may begin that another one goes on with.
CUT = re.compile(r"[_\-. ]")


def match(files: Paths, maps: Positions, others: Positions) -> tuple[Positions, Positions]:
    """Return the label map and the image of every pair, as positions in `files`."""
    if not len(maps):
        return maps, maps
    exact, loose = _keys(files, maps)
    others_exact, others_loose = _keys(files, others)
    pairs = [Index(others_exact).pairs(exact)]
    left, free = _left(len(maps), pairs, 0), _left(len(others), pairs, 1)
    # An image whose own name some map has takes no other.
    numbers, places = Index(others_loose[free]).pairs(loose[left])
    pairs.append((left[numbers], free[places]))
    left = _left(len(maps), pairs, 0)
    if len(left):
        free = _left(len(others), pairs, 1)
        begins, owners = _beginnings(files, others[free])
        # `1_sat.jpg` and `1_mask.png`: the one image whose name begins with what is left of the map's.
        numbers, places = Index(begins).pairs(loose[left])
        single = np.bincount(numbers, minlength=len(left))[numbers] == 1
        pairs.append((left[numbers[single]], free[owners[places[single]]]))
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return maps[first], others[second]


@lru_cache(maxsize=1 << 16)
def without_roles(folder: str) -> tuple[str | None, str]:
    """Return the word of a folder that holds label maps, and what is left of its path without words of roles."""
    roles = [folder_role(name) for name in folder.split("/")]
    word = next((role.word for role in reversed(roles) if role.word or role.image), None)
    return word, "/".join(role.rest for role in roles if role.rest)


def _keys(files: Paths, positions: Positions) -> tuple[Hashes, Hashes]:
    """Return the exact and the loose key of files: the folder without words of roles, and the name."""

    def keys() -> Iterator[tuple[str, str]]:
        for path in files.at(positions):
            folder, stem, _ = split_path(path)
            _, rest = without_roles(folder)
            yield rest, fold(stem)
            yield rest, stem_role(stem).rest

    exact, loose = hashes(keys()).reshape(-1, 2).T
    return exact, loose


def _beginnings(files: Paths, positions: Positions) -> tuple[Hashes, Positions]:
    """Return the keys with which names begin, and the number of the file of each."""
    counts = np.zeros(len(positions), np.int64)

    def keys() -> Iterator[tuple[str, str]]:
        for number, path in enumerate(files.at(positions)):
            folder, stem, _ = split_path(path)
            for cut in CUT.finditer(stem):
                counts[number] += 1
                yield without_roles(folder)[1], fold(stem[: cut.start()])

    begins = hashes(keys())
    return begins, np.repeat(np.arange(len(positions)), counts)


def _left(count: int, pairs: list[tuple[Positions, Positions]], side: int) -> Positions:
    """Return the numbers that are on no side of pairs."""
    free = np.ones(count, np.bool_)
    for pair in pairs:
        free[pair[side]] = False
    return np.flatnonzero(free)
