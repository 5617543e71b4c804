"""What every data set has in common: samples, their ids, and how an image finds its mask.

A layout works on a listing (relative posix paths), never on a file system: to it a folder and a bucket are the same.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.decode import IMAGE_SUFFIXES
from datus2_ray.errors import ImageError

__all__ = [
    "MASK_SUFFIXES",
    "DatasetLayout",
    "Sample",
    "assign_ids",
    "check_id",
    "describe",
    "file_path",
    "find_mask",
    "image_files",
    "index_masks",
    "quote_id",
]

# In order of preference where two masks share a stem.
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")

#: Bytes that file systems allow the name of a file or folder.
NAME_BYTES = 255

_UNSAFE_CHARACTER = re.compile(r"[%\\\x00-\x1f\x7f\ud800-\udfff]")
# Such a character, or a part that is empty or made of one or two dots.
_UNSAFE = re.compile(rf"{_UNSAFE_CHARACTER.pattern}|(?:^|/)\.{{0,2}}(?:/|$)")


@dataclass(frozen=True)
class Sample:
    """One image of a source, and its ground truth where there is one.

    Parameters
    ----------
    image_id : str
        The key of the image in every table, unique in the source: its path below the images folder, without suffix.
        It is never absolute and holds no ``..``, backslash or control character: it can name a file in an output
        folder.
    image, mask : str
        Paths relative to the source's root; ``mask`` is None where the image has none.
    """

    image_id: str
    image: str
    mask: str | None


class DatasetLayout(Protocol):
    """Where a data set keeps its images and masks, and what the masks mean.

    ``name`` is what the user types, ``title`` what the report says. ``splits`` may be empty. ``class_names`` and
    ``palette`` (uint8 [C, 3]) are None where the classes are found in the masks.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def splits(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def class_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def palette(self) -> NDArray[np.uint8] | None: ...  # noqa: D102

    def samples(self, files: Sequence[str], split: str | None) -> list[Sample]:
        """Find the samples in a listing of the source, sorted by ``image_id``.

        Parameters
        ----------
        files : sequence of str
            Paths of all files below the root, relative and posix.
        split : str or None
            One of ``splits``. None takes every split that is there, and each id then starts with the split's name (also
            where there is only one, so that ids stay the same when another split is added).

        Raises
        ------
        UsageError
            There is no such split, or the files do not fit the layout.
        """
        ...

    def decode_mask(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """Decode a ground-truth mask to class ids [height, width], the size of its image; 255 is ignored.

        Raises
        ------
        ImageError
            ``mask_unreadable``, ``mask_format`` (no class ids in it) or ``mask_size`` (not the size of its image).
        """
        ...


def image_files(files: Iterable[str]) -> list[str]:
    """Keep the paths with an image suffix in any case, sorted, without hidden files and what macOS adds to archives."""
    return sorted(path for path in files if _suffix(path) in IMAGE_SUFFIXES and not _is_hidden(path))


def index_masks(files: Iterable[str], folder: str) -> dict[str, str]:
    """Map each mask's path below ``folder`` without suffix to its path below the root."""
    found = [path for path in files if path.startswith(f"{folder}/") and _suffix(path) in MASK_SUFFIXES]
    # Preferred suffixes come last and overwrite.
    found = sorted(
        filter(lambda path: not _is_hidden(path), found), key=lambda path: -MASK_SUFFIXES.index(_suffix(path))
    )
    return {_stem(path)[len(folder) + 1 :]: path for path in found}


def find_mask(masks: Mapping[str, str], name: str) -> str | None:
    """Find the mask of the image at ``name`` below its folder: ``a.jpg`` has ``a.jpg.png`` or else ``a.png``."""
    return masks.get(name) or masks.get(_stem(name))


def assign_ids(names: Sequence[str]) -> list[str]:
    """Name images by their paths without suffix; those that would share an id keep their suffixes.

    Parameters
    ----------
    names : sequence of str
        Distinct paths below the images folder.

    Returns
    -------
    list of str
        Distinct ids in the same order. Parts that could lead out of a folder, backslashes, control characters and ``%``
        itself are percent-encoded; every usual name stays as it is.
    """
    ids = [quote_id(_stem(name)) for name in names]
    # `a.jpg.png` beside `a.jpg` and `a.png` takes a second round.
    while len(set(ids)) < len(ids):
        count = Counter(ids)
        ids = [image_id if count[image_id] == 1 else quote_id(name) for image_id, name in zip(ids, names, strict=True)]
    return ids


def describe(files: Sequence[str]) -> str:
    """Say in a few words what lies below a root, for an error message."""
    folders = Counter(path.rpartition("/")[0] for path in files if not _is_hidden(path))
    parts = [f"{count} files in {folder + '/' if folder else 'the root'}" for folder, count in sorted(folders.items())]
    more = f" and {len(parts) - 4} more folders" if len(parts) > 4 else ""
    return (", ".join(parts[:4]) + more) or "no files"


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _is_hidden(path: str) -> bool:
    # Millions of paths come through here, and nearly all of them have no dot in front.
    if not path.startswith(".") and "/." not in path and "__MACOSX" not in path:
        return False
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.split("/"))


def check_id(image_id: str | None) -> None:
    """See that an id that another program wrote could have come from :func:`quote_id`.

    Raises
    ------
    ImageError
        It is null, or could lead out of a folder.
    """
    if not image_id or _UNSAFE.search(image_id.replace("%", "")):
        raise ImageError("unsafe_id", f"the id {image_id!r} cannot name a file in an output folder")


def quote_id(path: str) -> str:
    """Percent-encode what could lead an id out of a folder; every usual name stays as it is."""
    if not _UNSAFE.search(path):
        return path
    parts = [_UNSAFE_CHARACTER.sub(lambda match: f"%{ord(match[0]):02X}", part) for part in path.split("/")]
    return "/".join(part.replace(".", "%2E") if part in (".", "..") else part or "%" for part in parts)


def file_path(image_id: str, suffix: str) -> str:
    """Return the path of an image's file below an output folder: its id and a suffix.

    A name that is too long for a file system is cut, and ends in a hash of the whole: no two ids share a file.
    """
    *folders, name = image_id.split("/")
    return "/".join([*(_cut(folder, "") for folder in folders), _cut(name, suffix)])


def _cut(name: str, suffix: str) -> str:
    encoded = name.encode()
    if len(encoded) + len(suffix) <= NAME_BYTES:
        return name + suffix
    end = f"~{hashlib.sha256(encoded).hexdigest()[:16]}{suffix}"
    return encoded[: NAME_BYTES - len(end)].decode(errors="ignore") + end
