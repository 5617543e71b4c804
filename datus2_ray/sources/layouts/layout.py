"""What all data sets have in common: how their samples are found, and the mask of an image.

A layout works on a listing (relative posix paths) and never on a file system, so that folders and buckets are alike.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.core.images.look import Look
from datus2_ray.core.images.sniff import OTHER_SUFFIXES
from datus2_ray.sources.layouts.roles import fold
from datus2_ray.sources.layouts.samples import Sample
from datus2_ray.sources.layouts.tree import Tree, is_hidden

# In order of preference where two masks share a stem.
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")


#: Returns what files look like, None for one that cannot be decoded.
LookAt = Callable[[Sequence[str]], list[Look | None]]

#: ``--masks none``: the run has no ground truth, and label maps are left out.
NO_MASKS = "none"

#: Names and colours 0xRRGGBB, in the order of the ids.
Palette = tuple[tuple[str, int], ...]


def _read_nothing(paths: Sequence[str]) -> list[bytes | None]:
    return [None] * len(paths)


@dataclass
class Inside:
    """What a layout may ask of a source beside its names, and what it tells of it.

    Parameters
    ----------
    look_at : callable or None
        Looks into files where names do not decide what is an image; None for names alone.
    read_files : callable
        Returns the bytes of files, None for one that cannot be read.
    notes : list of str
        Lines on what was read, for the terminal.
    used : set of str
        Files that were read, and are no images or masks.
    palette : tuple of (str, int)
        Names and colours of the classes, where they are in such files.
    """

    look_at: LookAt | None = None
    read_files: Callable[[Sequence[str]], list[bytes | None]] = _read_nothing
    notes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    palette: Palette = ()

    def read(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of files, None for one that cannot be read."""
        self.used.update(paths)
        return self.read_files(paths)


@dataclass(frozen=True)
class About:
    """Where a data set comes from.

    Parameters
    ----------
    home : str
        Address of its official page; empty where it is the user's own.
    licence : str
        What its page says of its use.
    note : str
        What else a user must know.
    """

    home: str = ""
    licence: str = ""
    note: str = ""


class DatasetLayout(Protocol):
    """Where a data set has its images and masks, and what the masks mean.

    ``name`` is what the user types, ``title`` what the report shows. ``class_names`` and ``palette`` (uint8 [C, 3]) are
    None if the classes are found in the masks. Where ``tile`` is a side in pixels, TIFF files are cut into windows of
    that size, each a sample. ``folders`` are the forms that a source may have, as patterns of paths.
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
    @property
    def tile(self) -> int | None: ...  # noqa: D102
    @property
    def about(self) -> About: ...  # noqa: D102
    @property
    def folders(self) -> tuple[str, ...]: ...  # noqa: D102

    def recognises(self, tree: Tree) -> bool:
        """Return whether a source is certainly this data set, by its names."""
        ...

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, inside: Inside | None = None
    ) -> Sequence[Sample]:
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
        inside : Inside, optional
            Reads files where names are not enough; None for names alone.

        Raises
        ------
        UsageError
            If there is no such split, or the files do not fit the layout or the pattern.
        """
        ...

    def picture(self, data: bytes) -> bytes:
        """Return the encoded picture that the file of an image holds: mostly the file itself.

        Raises
        ------
        ImageError
            If the file is of the data set's own format and damaged.
        """
        ...

    def decode_mask(self, data: bytes, height: int, width: int, path: str = "") -> LabelMap:
        """Decode a ground-truth mask of the size of its image, [height, width].

        Where the layout names its classes, the map has their ids and 255 is void; else it is what the file has. `path`
        is that of the file, as far as it is known: in some sets its name tells what the ids mean.

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
    return _suffix(path) not in OTHER_SUFFIXES and not is_hidden(path)


def index_masks(files: Iterable[str], folder: str, ends: Sequence[str] = MASK_SUFFIXES) -> dict[str, str]:
    """Map each mask's path below ``folder`` without its end to its path below the root, also in its folded form.

    Of masks that differ in their `ends` only, which are suffixes or longer, the earlier end counts.
    """
    named = [
        (-place, path[len(folder) + 1 : -len(end)], path)
        for path in files
        if path.startswith(f"{folder}/") and not is_hidden(path)
        for place, end in enumerate(ends)
        if path.lower().endswith(end.lower())
    ]
    # Preferred ends come last and overwrite.
    exact = {name: path for _, name, path in sorted(named, key=lambda item: item[0])}
    return {**{fold(name): path for name, path in exact.items()}, **exact}


def find_mask(masks: Mapping[str, str], name: str) -> str | None:
    """Find the mask of the image at ``name`` below its folder: ``a.jpg`` has ``a.jpg.png`` or else ``a.png``.

    Names may differ in case and in their Unicode form, where none is the same.
    """
    names = (name, _stem(name))
    return next((masks[key] for key in (*names, *map(fold, names)) if key in masks), None)


def describe(files: Sequence[str]) -> str:
    """Return a few words on the files below a root, for an error message."""
    folders = Counter(path.rpartition("/")[0] for path in files if not is_hidden(path))
    parts = [f"{count} files in {folder + '/' if folder else 'the root'}" for folder, count in sorted(folders.items())]
    more = f" and {len(parts) - 4} more folders" if len(parts) > 4 else ""
    return (", ".join(parts[:4]) + more) or "no files"


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
