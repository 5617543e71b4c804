"""One label map of every image: the best of several, or that which the user's pattern names."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.hashes import Index, hashes
from datus2_ray.sources.layouts.match import CUT
from datus2_ray.sources.layouts.roles import fold, is_lesser, split_path, stem_role
from datus2_ray.sources.paths import Paths, Positions

#: In order of preference where two label maps have the name of one image.
_PREFERRED = (".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpg", ".jpeg")

#: Images of one name in different folders that are compared with a mask; more are taken for a numbering.
_MAX_NAMESAKES = 256


def choose(files: Paths, maps: Positions, images: Positions) -> Positions:
    """Return the best label map of every file in pairs of label maps and images, -1 for a file that has none."""
    best = np.full(len(files), -1)
    best[images] = maps
    several = np.bincount(images, minlength=len(files))[images] > 1
    maps, images = maps[several], images[several]
    order = np.argsort(images, kind="stable")
    for image, pairs in groupby(zip(images[order].tolist(), maps[order].tolist(), strict=True), lambda pair: pair[0]):
        name = files[image]
        best[image] = min((at for _, at in pairs), key=lambda at: _rank(files[at], name))
    return best


def select(files: Paths, pattern: str) -> Positions:
    """Return the files that fit a pattern: of a path, of a name, or the name of a folder.

    Raises
    ------
    UsageError
        If there is none.
    """
    trimmed = pattern.rstrip("/").removeprefix("./")

    def fits(path: str) -> bool:
        if "/" in trimmed:
            return fnmatchcase(path, trimmed) or fnmatchcase(path, f"{trimmed}/*")
        return any(fnmatchcase(part, trimmed) for part in path.split("/"))

    chosen = np.flatnonzero(np.fromiter(map(fits, files), np.bool_, len(files)))
    if not len(chosen):
        folders = sorted({path.rpartition("/")[0] or "." for path in files})
        raise UsageError(f"--masks {pattern} fits none of {len(files):,} files in {', '.join(folders[:6])}")
    return chosen


def pair_named(files: Paths, pattern: str, named: Positions, images: Positions) -> tuple[Positions, Positions]:
    """Pair the label maps that the user named with the images that are nearest to their names and folders.

    Raises
    ------
    UsageError
        If none is named like an image.
    """
    stems = Index(hashes(fold(split_path(path)[1]) for path in files.at(images)))
    rests = Index(hashes(stem_role(split_path(path)[1]).rest for path in files.at(images)))
    folders, folder_of = _folders(files, images)
    pairs: list[tuple[int, int]] = []
    for at, path in zip(named.tolist(), files.at(named), strict=True):
        stem = split_path(path)[1]
        cuts = [match.start() for match in CUT.finditer(stem)]
        parts = [stem, *(stem[:cut] for cut in reversed(cuts)), *(stem[cut + 1 :] for cut in cuts)]
        numbers, same = stems.pairs(hashes(fold(part) for part in parts if part))
        if len(same):
            same = same[numbers == numbers[0]]
        else:
            _, same = rests.pairs(hashes([stem_role(stem).rest]))
        if 0 < len(same) <= _MAX_NAMESAKES:
            mine = path.split("/")[:-1]
            shared = [_common(mine, folders[number]) for number in folder_of[same].tolist()]
            owners = images[same].tolist()
            pairs += [(at, image) for image, count in zip(owners, shared, strict=True) if count == max(shared)]
    if not pairs:
        example = f", such as {files[images[0]]}" if len(images) else ""
        raise UsageError(
            f"--masks {pattern} fits {len(named):,} files, such as {files[named[0]]}, but none is named like an image"
            f"{example}"
        )
    maps, theirs = np.array(pairs).T
    return maps, theirs


def _folders(files: Paths, images: Positions) -> tuple[list[list[str]], NDArray[np.int32]]:
    """Return the folders of some files, each as its parts and once, and the number of every file's."""
    numbers: dict[str, int] = {}
    paths = files.at(images)
    of = (numbers.setdefault(path.rpartition("/")[0], len(numbers)) for path in paths)
    folder_of = np.fromiter(of, np.int32, len(images))
    return [folder.split("/") if folder else [] for folder in numbers], folder_of


def _common(mine: list[str], theirs: list[str]) -> int:
    """Return how many parts two folders have in common, at both ends."""
    count = 0
    for order in (1, -1):
        for a, b in zip(mine[::order], theirs[::order], strict=False):
            if a != b:
                break
            count += 1
    return count


def _rank(path: str, image: str) -> tuple[bool, bool, bool, int, str]:
    """Return the place of a label map among those of one image: the smallest is the best."""
    (_, stem, suffix), name = split_path(path), image.rpartition("/")[2]
    own = split_path(image)[1]
    place = _PREFERRED.index(suffix) if suffix in _PREFERRED else len(_PREFERRED)
    named_after = path.rpartition("/")[2].startswith(f"{name}.")
    return is_lesser(path), not named_after, stem != own, place, path
