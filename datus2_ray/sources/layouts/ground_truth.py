"""Decoding of ground-truth masks, with kinds of faults that differ from those of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.label_map import LabelMap, read_label_map
from datus2_ray.core.images.labels import NOISE_8, decode_labels
from datus2_ray.core.images.rendering import MAX_MEGAPIXELS
from datus2_ray.errors import ImageError

IGNORED = NOISE_8


def label_map(data: bytes, height: int, width: int) -> LabelMap:
    """Read a mask as its file has it; the survey of all masks finds its classes.

    Raises
    ------
    ImageError
        With kind ``mask_unreadable``, ``mask_format`` (JPEG, half-transparent, instances) or ``mask_size``.
    """
    with reading_mask():
        read = read_label_map(data, _limit(height, width))
    check_size(read.values.shape, height, width)
    read.count()
    return read


def class_ids(data: bytes, height: int, width: int, classes: int) -> NDArray[np.uint8]:
    """Decode a mask of class ids, uint8 [height, width], 255 = ignored.

    Parameters
    ----------
    data : bytes
        Grey or palette PNG, BMP or TIFF.
    height, width : int
        The size of its image.
    classes : int
        Number of classes; higher ids are ignored.

    Raises
    ------
    ImageError
        With kind ``mask_unreadable``, ``mask_format`` or ``mask_size``.
    """
    with reading_mask():
        ids = decode_labels(data, _limit(height, width))
    check_size(ids.shape, height, width)
    return np.where(ids < classes, ids, IGNORED).astype(np.uint8)


def by_id(table: Mapping[int, int]) -> Callable[[bytes, int, int], NDArray[np.uint8]]:
    """Return a decoder of masks whose ids are those in `table`, which names the class of each; others are ignored."""
    classes = np.full(256, IGNORED, np.uint8)
    classes[list(table)] = list(table.values())

    def read(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        return classes[class_ids(data, height, width, IGNORED)]

    return read


def by_colour(table: Mapping[tuple[int, int, int], int]) -> Callable[[bytes, int, int], NDArray[np.uint8]]:
    """Return a decoder of masks whose colours are those in `table`, which names the class of each; others are ignored.

    A mask of many colours that are not in the table has soft edges or is of another set: it cannot be used.
    """
    codes = np.array([red << 16 | green << 8 | blue for red, green, blue in table], np.uint32)
    order = np.argsort(codes)
    codes, classes = codes[order], np.array(list(table.values()), np.uint8)[order]

    def read(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        colours = label_map(data, height, width).colours()
        places = np.minimum(np.searchsorted(codes, colours), len(codes) - 1)
        return np.where(codes[places] == colours, classes[places], IGNORED).astype(np.uint8)

    return read


def _limit(height: int, width: int) -> int:
    """Return the megapixels of a mask above which it is not decoded: those of its image, where that is large."""
    return max(MAX_MEGAPIXELS, -(-height * width // 1_000_000))


def check_size(shape: tuple[int, ...], height: int, width: int) -> None:
    """Raise an ImageError if a mask does not have the size of its image: resizing it would be a guess."""
    if shape[:2] != (height, width):
        raise ImageError("mask_size", f"mask of {shape[1]}x{shape[0]} pixels for an image of {width}x{height}")


@contextmanager
def reading_mask() -> Iterator[None]:
    """Rename the kinds of faults of a file that is decoded as a mask to those of masks."""
    try:
        yield
    except ImageError as error:
        kinds = {"empty": "mask_unreadable", "unreadable": "mask_unreadable"}
        kinds |= {"too_small": "mask_size", "too_large": "mask_size"}
        text = error.message if error.message.startswith("mask: ") else f"mask: {error.message}"
        if error.kind == "too_large":
            text = f"{text.partition(';')[0]}, and its image is smaller"
        raise ImageError(kinds.get(error.kind, error.kind), text) from error
