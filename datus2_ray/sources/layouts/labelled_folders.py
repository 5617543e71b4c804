"""The layout that most data sets share: a folder of images beside a folder of masks, one pair of folders a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.layout import (
    MASK_SUFFIXES,
    Sample,
    assign_ids,
    describe,
    find_mask,
    image_files,
    index_masks,
)

__all__ = ["LabelledFolders"]


@dataclass(frozen=True, eq=False)
class LabelledFolders:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` that a few folder names describe.

    Parameters
    ----------
    name, title : str
        What the user types, and what the report says.
    splits : tuple of str
        The splits of the data set; none where the source always is one pair of folders.
    class_names : tuple of str or None
        None where the classes are found in the masks.
    palette : ndarray of uint8, shape [C, 3], or None
        The data set's own colours.
    split_folders : tuple of (str, str)
        Images and masks folder of a split, ``{split}`` standing for its name; the first pair that fits counts.
    folders : (str, str)
        Images and masks folder where the source is one split's own folder.
    read_mask : callable
        What :meth:`decode_mask` calls.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    class_names: tuple[str, ...] | None
    palette: NDArray[np.uint8] | None
    split_folders: tuple[tuple[str, str], ...]
    folders: tuple[str, str]
    read_mask: Callable[[bytes, int, int], NDArray[np.uint8]]

    def samples(self, files: Sequence[str], split: str | None) -> list[Sample]:
        """Find the samples in a listing of the source; see ``DatasetLayout.samples``."""
        if split is not None and split not in self.splits:
            known = f"its splits are {', '.join(self.splits)}" if self.splits else "it has no splits, leave --split out"
            raise UsageError(f"{self.name} has no split {split!r}; {known}")
        images = image_files(files)
        found = {name: pair for name in self.splits if (pair := self._folders_of(name, images, files))}
        if not found:
            if not _fits(images, files, *self.folders):
                raise UsageError(f"{self.name}: expected {self._expected()}; found {describe(files)}")
            if split is not None:
                raise UsageError(f"{self.name}: the source is one split's own folder; leave --split out")
            return self._samples(images, files, {"": self.folders})
        if split is None:
            return self._samples(images, files, {f"{name}/": pair for name, pair in found.items()})
        if split not in found:
            raise UsageError(f"{self.name}: the source has no split {split!r}, only {', '.join(found)}")
        return self._samples(images, files, {"": found[split]})

    def decode_mask(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """Decode a mask to class ids; see ``DatasetLayout.decode_mask``."""
        return self.read_mask(data, height, width)

    def _folders_of(self, split: str, images: Sequence[str], files: Sequence[str]) -> tuple[str, str] | None:
        pairs = ((first.format(split=split), second.format(split=split)) for first, second in self.split_folders)
        return next((pair for pair in pairs if _fits(images, files, *pair)), None)

    def _samples(self, images: Sequence[str], files: Sequence[str], pairs: dict[str, tuple[str, str]]) -> list[Sample]:
        """Pair images and masks of folders; each id starts with its pair's key."""
        names: list[str] = []
        paths: list[tuple[str, str | None]] = []
        for prefix, (image_folder, mask_folder) in pairs.items():
            masks = index_masks(files, mask_folder)
            below = [path[len(image_folder) + 1 :] for path in images if path.startswith(f"{image_folder}/")]
            matched = [find_mask(masks, name) for name in below]
            if masks and not any(matched):
                raise UsageError(
                    f"{self.name}: no mask in {mask_folder}/ is named like an image in {image_folder}/; "
                    f"{below[0]} wants the same name with {', '.join(MASK_SUFFIXES)}"
                )
            names += [prefix + name for name in below]
            paths += [(f"{image_folder}/{name}", mask) for name, mask in zip(below, matched, strict=True)]
        samples = [Sample(i, *pair) for i, pair in zip(assign_ids(names), paths, strict=True)]
        return sorted(samples, key=lambda sample: sample.image_id)

    def _expected(self) -> str:
        forms = [f"{images}/ with {masks}/" for images, masks in (*self.split_folders, self.folders)]
        splits = f" (split: {', '.join(self.splits)})" if self.splits else ""
        return f"images and masks in {' or '.join(forms)}{splits}"


def _fits(images: Sequence[str], files: Sequence[str], image_folder: str, mask_folder: str) -> bool:
    """Tell whether images are there, and masks too unless the folder's very name says that it holds images."""
    has_images = any(path.startswith(f"{image_folder}/") for path in images)
    return has_images and (image_folder.rpartition("/")[2] == "images" or bool(index_masks(files, mask_folder)))
