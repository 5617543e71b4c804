"""What all data sets have in common: samples, their ids, and the mask of an image.

A layout works on a listing (relative posix paths) and never on a file system, so that folders and buckets are alike.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.core.images.look import Look
from datus2_ray.core.images.sniff import OTHER_SUFFIXES
from datus2_ray.sources.layouts.roles import fold
from datus2_ray.sources.paths import Paths

# In order of preference where two masks share a stem.
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a source, and its ground truth if there is one.

    Parameters
    ----------
    image_id : str
        Key of the image in every table, unique in the source: its path below the images folder, without suffix. It is
        never absolute and has no ``..``, backslash or control character, so that it can name a file in a folder.
    image, mask : str
        Paths relative to the root of the source; ``mask`` is None if the image has none.
    """

    image_id: str
    image: str
    mask: str | None


class Samples(Sequence[Sample]):
    """The samples of a source, sorted by id, in columns; equal to any sequence of the same samples."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, ids: Paths, images: Paths, masks: Paths) -> None:
        order = ids.order()
        self.ids, self.images, self.masks = (column.take(order) for column in (ids, images, masks))

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> Samples: ...
    def __getitem__(self, at: int | slice) -> Sample | Samples:
        """Return a sample, or some of them."""
        if isinstance(at, slice):
            return Samples(self.ids[at], self.images[at], self.masks[at])
        return Sample(self.ids[at], self.images[at], self.masks[at] or None)

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples."""
        for image_id, image, mask in zip(self.ids, self.images, self.masks, strict=True):
            yield Sample(image_id, image, mask or None)

    def __eq__(self, other: object) -> bool:
        """Return whether a sequence has the same samples."""
        return isinstance(other, Sequence) and list(self) == list(other)


#: Returns what files look like, None for one that cannot be decoded.
LookAt = Callable[[Sequence[str]], list[Look | None]]

#: ``--masks none``: the run has no ground truth, and label maps are left out.
NO_MASKS = "none"


class DatasetLayout(Protocol):
    """Where a data set has its images and masks, and what the masks mean.

    ``name`` is what the user types, ``title`` what the report shows. ``class_names`` and ``palette`` (uint8 [C, 3]) are
    None if the classes are found in the masks.
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

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, look_at: LookAt | None = None
    ) -> Samples:
        """Find the samples in a listing of the source, sorted by ``image_id``.

        Parameters
        ----------
        files : sequence of str
            Paths of all files below the root, relative and posix.
        split : str or None
            One of ``splits``. None takes every split, and each id then starts with the split's name (also if there is
            only one, so that ids do not change when another split is added).
        masks : str, optional
            Pattern of the files that are ground truth, or :data:`NO_MASKS` to leave out what may be; None for data sets
            that know their masks by name.
        look_at : callable, optional
            Looks into files where names do not decide what is an image; None for names alone.

        Raises
        ------
        UsageError
            If there is no such split, or the files do not fit the layout or the pattern.
        """
        ...

    def decode_mask(self, data: bytes, height: int, width: int) -> LabelMap:
        """Decode a ground-truth mask of the size of its image, [height, width].

        Where the layout names its classes, the map has their ids and 255 is void; else it is what the file has.

        Raises
        ------
        ImageError
            With kind ``mask_unreadable``, ``mask_format`` (no class ids) or ``mask_size`` (not the size of its image).
        """
        ...


def image_files(files: Iterable[str]) -> list[str]:
    """Return the paths that may be images, sorted, without hidden files and those that macOS adds to archives.

    A listing has no files without a known suffix that are no images, see :mod:`datus2_ray.sources.look`.
    """
    return sorted(filter(may_be_image, files))


def may_be_image(path: str) -> bool:
    """Return whether a file's name says neither that it is something else nor that it is hidden."""
    return _suffix(path) not in OTHER_SUFFIXES and not _is_hidden(path)


def index_masks(files: Iterable[str], folder: str) -> dict[str, str]:
    """Map each mask's path below ``folder`` without suffix to its path below the root, also in its folded form."""
    masks = [
        path
        for path in files
        if path.startswith(f"{folder}/") and _suffix(path) in MASK_SUFFIXES and not _is_hidden(path)
    ]
    # Preferred suffixes come last and overwrite.
    masks.sort(key=lambda path: -MASK_SUFFIXES.index(_suffix(path)))
    exact = {_stem(path)[len(folder) + 1 :]: path for path in masks}
    return {**{fold(name): path for name, path in exact.items()}, **exact}


def find_mask(masks: Mapping[str, str], name: str) -> str | None:
    """Find the mask of the image at ``name`` below its folder: ``a.jpg`` has ``a.jpg.png`` or else ``a.png``.

    Names may differ in case and in their Unicode form, where none is the same.
    """
    names = (name, _stem(name))
    return next((masks[key] for key in (*names, *map(fold, names)) if key in masks), None)


def describe(files: Sequence[str]) -> str:
    """Return a few words on the files below a root, for an error message."""
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
