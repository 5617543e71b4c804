"""A look into files whose names do not say what they are: which are images, and how many pictures a TIFF file holds.

Names are trusted where they can be, until a file is decoded: to open millions of files takes hours. Of others the
first bytes are read, of very many those of some.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from datus2_ray.core.images import tiff
from datus2_ray.core.images.sniff import HEAD, IMAGE_SUFFIXES, OTHER_SUFFIXES, what_is
from datus2_ray.core.views import tiles
from datus2_ray.errors import MissingFileError
from datus2_ray.store import storage

T = TypeVar("T")

#: Files that are looked into at a time.
THREADS = 32

#: Files that are looked into first, at even distances; where all are alike, the others are taken to be like them.
PROBE = 1000

#: Files in an object store that are looked into at most: each is a request.
MAX_REQUESTS = 20_000

_NO_STACKS = IMAGE_SUFFIXES - {".tif", ".tiff"}

NAMED, CONTENT, UNSEEN = "no image by its name", "no image by its content", "not looked into"
UNUSED = "not used by the data set's layout"
LABEL_MAP = "label maps that are not used; --masks PATTERN names the ground truth"
NO_TRUTH = "label maps, of which no ground truth is read"
BESIDE_SHARDS, NO_IMAGES = "pictures beside shards", "Parquet files without images"
DAMAGED = "damaged"


def suffix(path: str) -> str:
    """Return the suffix of a path, in lower case, with its dot."""
    return posixpath.splitext(path)[1].lower()


def find_other_files(source: str, paths: Sequence[str]) -> dict[str, str]:
    """Return the files that are no images, and why: by their names, or by their first bytes where these say nothing."""
    others = [(path, kind) for path in paths if (kind := suffix(path)) not in IMAGE_SUFFIXES]
    named = {path: NAMED for path, kind in others if kind in OTHER_SUFFIXES}
    unknown = [path for path, kind in others if kind not in OTHER_SUFFIXES]
    found = _look(source, unknown, _is_image)
    alike = set(found.values())
    unseen = {path: UNSEEN for path in unknown if path not in found} if alike != {True} else {}
    return {**named, **{path: CONTENT for path, image in found.items() if not image}, **unseen}


def find_pieces(source: str, paths: Sequence[str], tile: int | None) -> dict[str, list[str]]:
    """Return the names of the pieces of each TIFF file that is several images: its pages, or its windows.

    `tile` is the side of windows in pixels; None for files whose pages are images.
    """
    tiffs = [path for path in paths if suffix(path) not in _NO_STACKS]
    if tile is None:
        pages = _look(source, tiffs, lambda read: len(tiff.read_pages(read)) if tiff.is_tiff(read(0, 4)) else 1)
        names = {path: [f"page-{number + 1:04d}" for number in range(count)] for path, count in pages.items()}
    else:
        grids = _look(source, tiffs, lambda read: tiles.grid(*tiff.size(read), tile))
        names = {path: tiles.names(grid) for path, grid in grids.items()}
    return {path: pieces for path, pieces in names.items() if len(pieces) > 1}


def describe_passed_over(reasons: Mapping[str, str]) -> list[str]:
    """Return a line per reason that files were passed over: how many of which kind, and one of them."""
    lines = []
    for reason, count in sorted(Counter(reasons.values()).items()):
        paths = [path for path, why in reasons.items() if why == reason]
        kinds = Counter(suffix(path) or "no suffix" for path in paths)
        shown = ", ".join(f"{kind} {number:,}" for kind, number in islice(kinds.most_common(), 6))
        more = f", {len(kinds) - 6} more kinds" if len(kinds) > 6 else ""
        lines.append(f"{count:,} file{'s' if count > 1 else ''}, {reason}: {shown}{more}, for example {paths[0]}")
    return lines


def _is_image(read: tiff.ReadAt) -> bool:
    return what_is(read(0, HEAD)) is not None


def _look(source: str, paths: Sequence[str], look: Callable[[tiff.ReadAt], T]) -> dict[str, T]:
    """Look into files; into some of many, if these are alike."""

    def open_one(path: str) -> tuple[str, T] | None:
        try:
            with storage.read_at(storage.join(source, path)) as read:
                return path, look(read)
        except MissingFileError:  # a file that cannot be read is refused where all are read
            return None

    most = MAX_REQUESTS if storage.is_remote(source) else len(paths)
    step = max(1, len(paths) // PROBE)
    probe = paths[::step]
    with ThreadPoolExecutor(THREADS) as threads:
        found = dict(filter(None, threads.map(open_one, probe)))
        if step > 1 and len(set(found.values())) > 1:
            seen = set(probe)
            rest = [path for path in paths if path not in seen][: max(0, most - len(probe))]
            found |= dict(filter(None, threads.map(open_one, rest)))
    return found
