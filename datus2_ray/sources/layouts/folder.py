"""Any tree of images; a folder ``masks`` beside ``images`` or beside the images themselves is the ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.sniff import IMAGE_SUFFIXES
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.ground_truth import class_ids
from datus2_ray.sources.layouts.layout import (
    MASK_SUFFIXES,
    Sample,
    assign_ids,
    describe,
    find_mask,
    image_files,
    index_masks,
)


class PlainFolder:
    """A :class:`~datus2_ray.sources.layouts.layout.DatasetLayout` without class names or splits.

    Every file with an image suffix is a sample, also a broken one, which is refused when it is decoded. Ids are paths
    below the root, or below ``images/`` if all images are there. The files of a folder ``masks`` are ground truth if it
    is beside a folder ``images``, or one of them has the name of an image beside it; else they are images.
    """

    name = "folder"
    title = "folder of images"
    splits: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None
    palette: NDArray[np.uint8] | None = None

    def samples(self, files: Sequence[str], split: str | None) -> list[Sample]:
        """Find the samples; see ``DatasetLayout.samples``."""
        if split is not None:
            raise UsageError("a plain folder has no splits; leave --split out, or say with --dataset what it is")
        in_masks, others = _separate(image_files(files))
        indexes = {parent: index_masks(paths, f"{parent}masks") for parent, paths in in_masks.items()}
        truth = {parent for path in others for parent, _ in _beside(path, "images/") if parent in indexes}
        masks: dict[str, str] = {}
        for path in others:
            for parent, name in [*_beside(path, "images/"), *_beside(path, "")]:
                if parent in indexes and (mask := find_mask(indexes[parent], name)) is not None:
                    masks[path] = mask
                    truth.add(parent)
                    break
        if truth and not masks:
            folder = min(truth)
            raise UsageError(
                f"no mask in {folder}masks/ is named like an image in {folder}images/; "
                f"a mask has its image's name with {', '.join(MASK_SUFFIXES)}"
            )
        images = others + [path for parent, paths in in_masks.items() if parent not in truth for path in paths]
        if not images:
            raise UsageError(f"expected images ({' '.join(sorted(IMAGE_SUFFIXES))}), found {describe(files)}")
        skipped = len("images/") if all(path.startswith("images/") for path in images) else 0
        ids = assign_ids([path[skipped:] for path in images])
        samples = [Sample(image_id, path, masks.get(path)) for image_id, path in zip(ids, images, strict=True)]
        return sorted(samples, key=lambda sample: sample.image_id)

    def decode_mask(self, data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        """Decode a mask; see ``DatasetLayout.decode_mask``."""
        return class_ids(data, height, width)


FOLDER = PlainFolder()


def _separate(images: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Separate the files in folders ``masks``, by the path before that folder, from all others."""
    in_masks: dict[str, list[str]] = defaultdict(list)
    others: list[str] = []
    for path in images:
        parents = [parent for parent, _ in _beside(path, "masks/")]
        (in_masks[parents[0]] if parents else others).append(path)
    return in_masks, others


def _beside(path: str, folder: str) -> list[tuple[str, str]]:
    """Return what is before and what is below `folder`, for every place at which a path has it."""
    starts = [0, *(i + 1 for i, character in enumerate(path) if character == "/")]
    return [(path[:i], path[i + len(folder) :]) for i in starts if path.startswith(folder, i)]
