"""Small pictures of images, segments and masks as ``data:`` URIs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.decode import resize
from datus2_ray.core.images.labels import encode_palette_png, upsample_nearest
from datus2_ray.core.images.palette import palette

RGB = NDArray[np.uint8]

#: Longest side of a picture and of a crop, in pixels; about 1.5 times the size at which a laptop shows them.
PICTURE_SIDE = 320
CROP_SIDE = 144

JPEG_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """A picture in the report.

    Parameters
    ----------
    caption : str
        What it shows.
    alt : str
        The same for those who do not see it.
    uri : str
        The picture itself, as ``data:`` URI.
    width, height : int
        Its size in pixels.
    """

    caption: str
    alt: str
    uri: str
    width: int
    height: int


def photo(pixels: RGB, caption: str, alt: str) -> Picture:
    """Encode a picture as JPEG, at the size it has."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=JPEG_QUALITY)
    return Picture(caption, alt, _uri("jpeg", file.getvalue()), pixels.shape[1], pixels.shape[0])


def drawing(pixels: RGB, caption: str, alt: str) -> Picture:
    """Encode a picture of few colours as PNG, without loss: a colour in it is exactly the colour in the legend."""
    flat = pixels.reshape(-1, 3).astype(np.uint32)
    codes, index = np.unique(flat[:, 0] << 16 | flat[:, 1] << 8 | flat[:, 2], return_inverse=True)
    if len(codes) <= 255:
        colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)
        data = encode_palette_png(index.reshape(pixels.shape[:2]).astype(np.uint8), colours)
    else:
        file = BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        data = file.getvalue()
    return Picture(caption, alt, _uri("png", data), pixels.shape[1], pixels.shape[0])


def fit(pixels: RGB, side: int) -> RGB:
    """Resize a picture so that its longer side has so many pixels; the aspect is kept."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def show_segments(pixels: RGB, patch_map: NDArray[np.int16]) -> RGB:
    """Lay every segment's colour over the grey picture, noise left dark, with a white line between segments.

    Parameters
    ----------
    pixels : ndarray of uint8
        The picture, shape (H, W, 3).
    patch_map : ndarray of int16
        Segment of every patch, -1 = noise, shape (h, w). The colours only tell segments of one image apart.
    """
    height, width = pixels.shape[:2]
    segments = _enlarge(patch_map, height, width)
    grey = pixels.mean(axis=2, keepdims=True)
    colours = np.vstack([palette(int(patch_map.max()) + 1), [[0, 0, 0]]]).astype(np.float64)
    # Index -1, the noise patches, picks the colour appended last.
    shown: NDArray[np.float64] = 0.62 * colours[segments] + 0.38 * grey
    shown[segments < 0] = 0.25 * grey[segments < 0]
    shown[_edges(segments)] = 255
    return shown.astype(np.uint8)


def crop_segment(pixels: RGB, patch_map: NDArray[np.int16], segment: int) -> RGB:
    """Cut out a segment with a margin, as a square where the image allows it, everything else in it dimmed.

    Parameters
    ----------
    pixels : ndarray of uint8
        The image at its own size, shape (H, W, 3).
    patch_map : ndarray of int16
        Segment of every patch, shape (h, w).
    segment : int
        Which one.

    Returns
    -------
    ndarray of uint8
        Its longer side is :data:`CROP_SIDE`.
    """
    height, width = pixels.shape[:2]
    rows, columns = np.nonzero(patch_map == segment)
    scale = height / patch_map.shape[0], width / patch_map.shape[1]
    top, bottom = rows.min() * scale[0], (rows.max() + 1) * scale[0]
    left, right = columns.min() * scale[1], (columns.max() + 1) * scale[1]
    side = ceil(1.2 * max(bottom - top, right - left))
    vertical, horizontal = _window((top + bottom) / 2, side, height), _window((left + right) / 2, side, width)
    crop = fit(np.ascontiguousarray(pixels[vertical, horizontal]), CROP_SIDE)
    inside = _enlarge(patch_map, height, width)[vertical, horizontal] == segment
    inside = upsample_nearest(inside.astype(np.uint8), *crop.shape[:2]).astype(bool)
    dimmed = 0.22 * crop + 0.08 * crop.mean(axis=2, keepdims=True)
    shown = np.where(inside[:, :, None], crop, dimmed)
    shown[_edges(inside)] = 255
    return shown.astype(np.uint8)


def _window(centre: float, side: int, length: int) -> slice:
    """Place a window of at most `side` pixels around a centre, within an axis of so many pixels."""
    side = min(side, length)
    start = min(max(0, round(centre - side / 2)), length - side)
    return slice(start, start + side)


def _enlarge(patch_map: NDArray[np.int16], height: int, width: int) -> NDArray[np.int16]:
    # The same rule as the masks'; through uint16 and back, as labels have no sign.
    enlarged: NDArray[np.int16] = upsample_nearest(patch_map.view(np.uint16), height, width).view(np.int16)
    return enlarged


def _edges(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark the pixels whose right or lower neighbour belongs to something else."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
