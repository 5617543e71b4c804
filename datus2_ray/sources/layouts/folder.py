"""Any tree of images, with or without label maps, which are found by their names and by what is in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap
from datus2_ray.core.images.sniff import IMAGE_SUFFIXES
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.ground_truth import label_map
from datus2_ray.sources.layouts.ids import assign_ids
from datus2_ray.sources.layouts.layout import About, Inside, describe, may_be_image
from datus2_ray.sources.layouts.pairing import pair
from datus2_ray.sources.layouts.samples import Samples
from datus2_ray.sources.layouts.tree import Tree
from datus2_ray.sources.paths import Paths


class PlainFolder:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` without class names or splits.

    Every file with an image suffix is a sample, also a broken one, which is refused when it is decoded, unless it is a
    label map. Ids are paths below the root, or below ``images/`` if all images are there.
    """

    name = "folder"
    title = "folder of images"
    splits: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    palette: NDArray[np.uint8] | None = None
    tile: int | None = None
    about = About(note="classes are the ids or colours in the masks; see docs/sources.md")
    folders: tuple[str, ...] = ("any images, with or without masks that are named like them",)

    def recognises(self, tree: Tree) -> bool:
        """Return whether a source is certainly this data set: it may be any other."""
        return False

    def samples(
        self, files: Sequence[str], split: str | None, masks: str | None = None, inside: Inside | None = None
    ) -> Samples:
        """Find the samples; see ``DatasetLayout.samples``."""
        if split is not None:
            raise UsageError("a plain folder has no splits; leave --split out, or say with --dataset what it is")
        names = Paths.of(files).sorted()
        names = names.where(np.fromiter(map(may_be_image, names), np.bool_, len(names)))
        found = pair(names, masks, inside.look_at if inside else None)
        images, masks_of = names.where(found.images), names.take(found.masks)
        del found  # which takes memory while the ids are made
        if not images:
            raise UsageError(f"expected images ({' '.join(sorted(IMAGE_SUFFIXES))}), found {describe(files)}")
        return Samples(plain_ids(images), images, masks_of)

    def picture(self, data: bytes) -> bytes:
        """Return the encoded picture of a file, which is the file."""
        return data

    def decode_mask(self, data: bytes, height: int, width: int, path: str = "") -> LabelMap:
        """Read a mask; see ``DatasetLayout.decode_mask``."""
        return label_map(data, height, width)


def plain_ids(images: Paths) -> Paths:
    """Return the ids of images: the paths below the root, or below ``images/`` if all are there."""
    below = images.without("images/") if all(path.startswith("images/") for path in images) else images
    return assign_ids(below)


FOLDER = PlainFolder()
