"""The square in the middle of an image, as STEGO's protocol cuts it (Hamilton et al., ICLR 2022).

The shorter side is resized to that of the square first. Sizes and offsets are those of torchvision's ``Resize(side)``
and ``CenterCrop(side)``, with which STEGO, CAUSE and PriMaPs score.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

A = TypeVar("A", bound=NDArray[Any])


def crop_image(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the middle of RGB pixels [H, W, 3], shape [side, side, 3].

    Resized by Pillow's antialiased bilinear filter. PriMaPs resizes images bilinearly; STEGO and CAUSE take the nearest
    pixels.
    """
    height, width, top, left = _place(pixels.shape, side)
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized.crop((left, top, left + side, top + side)))


def crop_labels(labels: A, side: int) -> A:
    """Return the middle of ids [H, W] or colours [H, W, 3], of the nearest pixels; of the same type."""
    height, width, top, left = _place(labels.shape, side)
    rows = _nearest(labels.shape[0], height)[top : top + side]
    cropped: Any = labels[rows[:, None], _nearest(labels.shape[1], width)[left : left + side]]
    return cropped  # type: ignore[no-any-return]


def _nearest(length: int, resized: int) -> NDArray[np.int32]:
    """Return which of `length` pixels each of the resized ones takes.

    By Pillow itself: where centres meet borders exactly, its arithmetic decides, and so the published scores.
    """
    numbers = Image.fromarray(np.arange(length, dtype=np.int32)[None])
    nearest: NDArray[np.int32] = np.array(numbers.resize((resized, 1), Image.Resampling.NEAREST))[0]
    return nearest


def _place(shape: tuple[int, ...], side: int) -> tuple[int, int, int, int]:
    """Return the size at which the shorter side is `side`, and the top and left of the square in its middle."""
    height, width = shape[:2]
    longer = side * max(height, width) // min(height, width)
    resized = (side, longer) if height <= width else (longer, side)
    # A half is rounded to the even number, as torchvision does.
    top, left = (round((length - side) / 2) for length in resized)
    return *resized, top, left
