"""Small pictures of images, segments and masks as ``data:`` URIs."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.labels import encode_palette_png, upsample_nearest
from datus2_ray.core.images.palette import palette
from datus2_ray.core.images.resize import resize

RGB = NDArray[np.uint8]

#: Longest side of a picture and of a crop, in pixels; about 1.5 times the size at which a laptop shows them.
PICTURE_SIDE, CROP_SIDE = 320, 144

JPEG_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """A picture in the report: caption, alternative text, ``data:`` URI, and size in pixels."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int


def photo(pixels: RGB, caption: str, alt: str) -> Picture:
    """Encode a picture as JPEG."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=JPEG_QUALITY)
    return Picture(caption, alt, _uri("jpeg", file.getvalue()), pixels.shape[1], pixels.shape[0])


def drawing(pixels: RGB, caption: str, alt: str) -> Picture:
    """Encode a picture of few colours as PNG, without loss, so that its colours are those of the legend."""
    picture = Image.fromarray(pixels)
    counted = picture.getcolors(255)
    if counted is None:
        file = BytesIO()
        picture.save(file, format="PNG")
        data = file.getvalue()
    else:
        colours = np.array(sorted(colour for _, colour in counted), np.uint8)
        code = np.array([1 << 16, 1 << 8, 1])
        index = np.searchsorted(colours @ code, pixels @ code)
        data = encode_palette_png(index.astype(np.uint8), colours)
    return Picture(caption, alt, _uri("png", data), pixels.shape[1], pixels.shape[0])


def fit(pixels: RGB, side: int) -> RGB:
    """Resize a picture to a longer side of `side` pixels."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    return resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def show_segments(pixels: RGB, patch_map: NDArray[np.int16]) -> RGB:
    """Draw segments (patch map [h, w], -1 = noise) over a grey picture [H, W, 3], with white lines between them.

    The colours only tell segments of one image apart; noise is dark.
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
    """Cut a segment of a patch map [h, w] out of an image [H, W, 3], with a margin; everything else in it is dimmed.

    The crop is a square where the image allows it, and of at least three patches, to show what is around;
    its longer side is :data:`CROP_SIDE`.
    """
    height, width = pixels.shape[:2]
    rows, columns = np.nonzero(patch_map == segment)
    scale = height / patch_map.shape[0], width / patch_map.shape[1]
    top, bottom = rows.min() * scale[0], (rows.max() + 1) * scale[0]
    left, right = columns.min() * scale[1], (columns.max() + 1) * scale[1]
    side = ceil(max(1.2 * max(bottom - top, right - left), 3 * max(scale)))
    vertical, horizontal = _window((top + bottom) / 2, side, height), _window((left + right) / 2, side, width)
    crop = fit(np.ascontiguousarray(pixels[vertical, horizontal]), CROP_SIDE)
    inside = _enlarge(patch_map, height, width)[vertical, horizontal] == segment
    inside = upsample_nearest(inside.astype(np.uint8), *crop.shape[:2]).astype(bool)
    dimmed = 0.22 * crop + 0.08 * crop.mean(axis=2, keepdims=True)
    shown = np.where(inside[:, :, None], crop, dimmed)
    shown[_edges(inside)] = 255
    return shown.astype(np.uint8)


def _window(centre: float, side: int, length: int) -> slice:
    """Return a window of at most `side` pixels around a centre, within an axis of `length` pixels."""
    side = min(side, length)
    start = min(max(0, round(centre - side / 2)), length - side)
    return slice(start, start + side)


def _enlarge(patch_map: NDArray[np.int16], height: int, width: int) -> NDArray[np.int16]:
    # The same rule as for masks; through uint16 and back, because labels have no sign.
    enlarged: NDArray[np.int16] = upsample_nearest(patch_map.view(np.uint16), height, width).view(np.int16)
    return enlarged


def _edges(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return the pixels with another label than their right or lower neighbour."""
    edges = np.zeros(labels.shape, dtype=bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
