"""The layout of most data sets: a folder of images beside a folder of masks, a pair of folders per split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.ground_truth import label_map
from datus2_ray.sources.layouts.ids import assign_ids
from datus2_ray.sources.layouts.layout import (
    MASK_SUFFIXES,
    LookAt,
    Samples,
    describe,
    find_mask,
    image_files,
    index_masks,
)
from datus2_ray.sources.paths import Paths


@dataclass(frozen=True, eq=False)
class LabelledFolders:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` described by the names of its folders.

    Parameters
    ----------
    splits : tuple of str
        Empty if the source always is one pair of folders.
    palette : ndarray of uint8, shape [C, 3], or None
        The data set's own colours.
    split_folders : tuple of (str, str)
        Images and masks folder of a split, with ``{split}`` for its name; the first pair that fits counts.
    folders : (str, str)
        Images and masks folder if the source is the folder of one split.
    read_mask : callable or None
        Decodes a mask to class ids, 255 = ignored; None where the classes are found in the masks.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    class_names: tuple[str, ...] | None
    palette: NDArray[np.uint8] | None
    split_folders: tuple[tuple[str, str], ...]
    folders: tuple[str, str]
    read_mask: Callable[[bytes, int, int], NDArray[np.uint8]] | None

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, look_at: LookAt | None = None
    ) -> Samples:
        """Find the samples; see ``DatasetLayout.samples``. Names decide all here."""
        if masks is not None:
            raise UsageError(f"{self.name} says itself where its masks are; leave --masks out, or --dataset")
        if split is not None and split not in self.splits:
            known = f"its splits are {', '.join(self.splits)}" if self.splits else "it has no splits, leave --split out"
            raise UsageError(f"{self.name} has no split {split!r}; {known}")
        images = image_files(files)
        pairs = {name: pair for name in self.splits if (pair := self._folders_of(name, images, files))}
        if not pairs:
            if not _fits(images, files, *self.folders):
                raise UsageError(f"{self.name}: expected {self._expected()}; found {describe(files)}")
            if split is not None:
                raise UsageError(f"{self.name}: the source is one split's own folder; leave --split out")
            return self._samples(images, files, {"": self.folders})
        if split is None:
            return self._samples(images, files, {f"{name}/": pair for name, pair in pairs.items()})
        if split not in pairs:
            raise UsageError(f"{self.name}: the source has no split {split!r}, only {', '.join(pairs)}")
        return self._samples(images, files, {"": pairs[split]})

    def decode_mask(self, data: bytes, height: int, width: int) -> LabelMap:
        """Decode a mask; see ``DatasetLayout.decode_mask``."""
        if self.read_mask is None:
            return label_map(data, height, width)
        return LabelMap(self.read_mask(data, height, width))

    def _folders_of(self, split: str, images: Sequence[str], files: Sequence[str]) -> tuple[str, str] | None:
        pairs = ((first.format(split=split), second.format(split=split)) for first, second in self.split_folders)
        return next((pair for pair in pairs if _fits(images, files, *pair)), None)

    def _samples(self, images: Sequence[str], files: Sequence[str], pairs: dict[str, tuple[str, str]]) -> Samples:
        """Pair the images and masks of folders; each id starts with the key of its pair."""
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
        return Samples(assign_ids(names), *map(Paths.of, zip(*paths, strict=True)))

    def _expected(self) -> str:
        forms = [f"{images}/ with {masks}/" for images, masks in (*self.split_folders, self.folders)]
        splits = f" (split: {', '.join(self.splits)})" if self.splits else ""
        return f"images and masks in {' or '.join(forms)}{splits}"


def _fits(images: Sequence[str], files: Sequence[str], image_folder: str, mask_folder: str) -> bool:
    """Return whether there are images, and also masks unless the folder is called ``images``."""
    has_images = any(path.startswith(f"{image_folder}/") for path in images)
    return has_images and (image_folder.rpartition("/")[2] == "images" or bool(index_masks(files, mask_folder)))
