"""Pictures that the explorer shows: an image, a segment cut out of it with an outline, and label maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.labels import NOISE_16, Labels, upsample_nearest
from datus2_ray.core.images.regions import void_of
from datus2_ray.core.images.resize import resize

RGB = NDArray[np.uint8]

JPEG_QUALITY = 82

#: How much of the colour of what lies around a segment is kept in its crop; the rest of it is grey.
AROUND = 0.6


@dataclass(frozen=True)
class Encoded:
    """An encoded image, its size in pixels once it is decoded, and what decodes it to at least some shorter side."""

    data: bytes
    height: int
    width: int
    decode: Callable[[bytes, int], RGB]


def photo(image: Encoded, side: int) -> bytes:
    """Return an image as JPEG whose longer side is at most `side` pixels."""
    shorter, longer = sorted((image.height, image.width))
    pixels = image.decode(image.data, ceil(side * shorter / longer))
    height, width = _fit(pixels.shape[0], pixels.shape[1], side)
    return _jpeg(resize(pixels, height, width) if (height, width) != pixels.shape[:2] else pixels)


def crop(image: Encoded, patch_map: NDArray[np.int16], segment: int, side: int) -> bytes:
    """Return a segment of an image as JPEG, outlined, with what is around it paler.

    Parameters
    ----------
    image : Encoded
    patch_map : int16 [h, w]
    segment : int
        A segment of the patch map.
    side : int
        Sides of the square picture in pixels; a crop at the border of the image is shifted into it.
    """
    rows, columns = np.nonzero(patch_map == segment)
    cells = patch_map.shape
    # In units of the image's sides, before it is decoded: a segment that fills it needs few pixels of it.
    top, bottom = rows.min() / cells[0], (rows.max() + 1) / cells[0]
    left, right = columns.min() / cells[1], (columns.max() + 1) / cells[1]
    high, wide = image.height, image.width
    extent = max(1.25 * max((bottom - top) * high, (right - left) * wide), 3 * max(high / cells[0], wide / cells[1]))
    pixels = image.decode(image.data, ceil(min(high, wide) * side / extent))
    height, width = pixels.shape[:2]
    length = max(8, round(extent * height / high))
    vertical = _window((top + bottom) / 2 * height, length, height)
    horizontal = _window((left + right) / 2 * width, length, width)
    cut = np.ascontiguousarray(pixels[vertical, horizontal])
    shown = resize(cut, *_fit(cut.shape[0], cut.shape[1], side, enlarge=True))
    mask = _enlarge(patch_map == segment, height, width)[vertical, horizontal]
    return _jpeg(_square(_outline(shown, _enlarge(mask, *shown.shape[:2])), side))


def label_map(patch_map: NDArray[np.int16], mask: Labels | None, side: int) -> bytes:
    """Return segments and a mask as PNG, to be coloured by the page.

    The upper half has the number of each pixel's segment in red + 256 green, the lower half its label of the mask;
    65535 is none. The size of a half is that of the patch map without a mask, else that of the mask, at most `side`
    pixels.
    """
    segments: Labels = patch_map.view(np.uint16)
    labels: Labels = np.full(patch_map.shape, NOISE_16, np.uint16)
    if mask is not None:
        height, width = _fit(mask.shape[0], mask.shape[1], side)
        segments, small = upsample_nearest(segments, height, width), upsample_nearest(mask, height, width)
        labels = np.where(small == void_of(mask), NOISE_16, small.astype(np.uint16))
    both = np.concatenate([segments, labels])
    pixels = np.stack([both & 255, both >> 8, np.zeros_like(both)], axis=-1).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def _fit(height: int, width: int, side: int, enlarge: bool = False) -> tuple[int, int]:
    scale = side / max(height, width)
    if scale >= 1 and not enlarge:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


def _window(centre: float, length: int, sides: int) -> slice:
    length = min(length, sides)
    start = min(max(0, round(centre - length / 2)), sides - length)
    return slice(start, start + length)


def _enlarge(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    return upsample_nearest(mask.view(np.uint8), height, width).astype(bool)


def _outline(pixels: RGB, inside: NDArray[np.bool_]) -> RGB:
    """Make what is outside paler, and draw a white line with a dark rim around the inside."""
    grey = pixels.mean(axis=2, keepdims=True)
    paler = AROUND * (0.6 * pixels + 0.4 * grey)
    shown = np.where(inside[:, :, None], pixels, paler)
    near, line = _grown(inside, 2), _grown(inside, 1)
    shown[near & ~line] = 20
    shown[line & ~inside] = 255
    shown[inside & _grown(~inside, 1)] = 255
    return shown.astype(np.uint8)


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def _square(pixels: RGB, side: int) -> RGB:
    """Lay a picture in the middle of a grey square."""
    height, width = pixels.shape[:2]
    square = np.full((side, side, 3), 44, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _jpeg(pixels: RGB) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
