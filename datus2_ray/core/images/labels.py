"""Label maps: from patches to pixels, to and from PNG bytes, and the colours in which people see them.

Labels are ``uint8`` with noise 255, or ``uint16`` with noise 65535 where more than 254 clusters need more numbers.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.decode import open_image, reading
from datus2_ray.errors import ImageError

__all__ = [
    "NOISE_8",
    "NOISE_16",
    "Labels",
    "decode_labels",
    "encode_labels",
    "encode_palette_png",
    "palette",
    "patch_labels",
    "upsample_nearest",
]

NOISE_8 = 255
NOISE_16 = 65535

# Colours one after the other are at least so far apart in CIELAB, however many there are: such labels often touch.
_NEXT_APART = 40.0

Labels = NDArray[np.uint8] | NDArray[np.uint16]


def patch_labels(labels: bytes, height: int, width: int) -> Labels:
    """Give the labels of patches, kept as raw bytes, their shape [height, width] and type back."""
    if len(labels) == height * width:
        return np.frombuffer(labels, np.uint8).reshape(height, width)
    return np.frombuffer(labels, np.uint16).reshape(height, width)


def upsample_nearest(labels: Labels, height: int, width: int) -> Labels:
    """Give every pixel the label of the patch that covers its centre: pixel y of H takes patch floor((y + 0.5) h / H).

    Parameters
    ----------
    labels : ndarray of uint8 or uint16, shape [h, w]
        One label a patch.
    height, width : int
        The size in pixels; smaller than the patch grid is allowed.

    Returns
    -------
    ndarray of the same dtype, shape [height, width]
    """
    # Integer arithmetic: (2y + 1) h / 2H has no rounding to go wrong at patch borders.
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    upsampled: Labels = labels[rows[:, None], columns]
    return upsampled


def encode_labels(labels: Labels) -> bytes:
    """Encode a label map as a grey PNG, 8 bits deep for uint8 and 16 bits for uint16, without loss.

    Parameters
    ----------
    labels : ndarray of uint8 or uint16, shape [H, W]

    Returns
    -------
    bytes
        A PNG file; :func:`decode_labels` gives the same array back.
    """
    return _png(Image.fromarray(labels))


def decode_labels(data: bytes) -> Labels:
    """Decode class or cluster ids from an image file: its grey values or palette indices, never its colours.

    Grey PNG of 1, 2, 4, 8 or 16 bits, palette PNG, grey or palette BMP and TIFF. RGB whose three channels are equal
    counts as grey.

    Parameters
    ----------
    data : bytes
        The file.

    Returns
    -------
    ndarray of uint8 or uint16, shape [H, W]
        uint16 for files with 16 bits a pixel.

    Raises
    ------
    ImageError
        Of kind ``empty``, ``unreadable`` or ``too_large`` as :func:`~decode.decode`, or ``mask_format``
        for JPEG, colours, alpha or numbers that cannot be ids.
    """
    with reading():
        image = open_image(data)
        # Pillow widens grey PNG of 2 and 4 bits to 0..255; ids must stay as they are in the file.
        widened = {2: 85, 4: 17}.get(data[24], 1) if image.format == "PNG" else 1
        if image.format == "JPEG":
            raise ImageError("mask_format", "JPEG changes class ids; store masks as PNG")
        image.load()
        mode, values = image.mode, np.array(image)
    if mode == "1" or mode == "P":
        return values.astype(np.uint8)
    if mode == "L":
        return values // np.uint8(widened)
    if mode.startswith("I;16"):
        return values.astype(np.uint16)
    if mode == "I" and values.min() >= 0 and values.max() <= NOISE_16:
        return values.astype(np.uint16)
    if mode == "RGB" and (values == values[:, :, :1]).all():
        return np.ascontiguousarray(values[:, :, 0])
    raise ImageError("mask_format", f"expected class ids (grey or palette), found a picture of Pillow mode {mode}")


def encode_palette_png(labels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Encode a label map as a palette PNG that any viewer shows in colour; its indices are the labels.

    Parameters
    ----------
    labels : ndarray of uint8, shape [H, W]
    colours : ndarray of uint8, shape [K, 3]
        RGB of label 0, 1, ...; at most 255. Labels without a colour, noise (255) among them, are shown black.

    Returns
    -------
    bytes
        A PNG file; :func:`decode_labels` gives the labels back.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: min(len(colours), NOISE_8)] = colours[:NOISE_8]
    image = Image.fromarray(labels)
    image.putpalette(table.tobytes())
    return _png(image)


def palette(n: int) -> NDArray[np.uint8]:
    """Give n colours that are easy to tell apart: each is the one farthest from all before it.

    Greedy farthest-point choice by Euclidean distance in CIELAB (CIE 1976) among a grid of sRGB colours without the
    very dark, the very light and neon. The choice starts away from black, which shows noise, and from white, which
    shows paper. ``palette(k)`` is the start of ``palette(n)`` for every k < n.

    Parameters
    ----------
    n : int
        Number of colours; after 2,048 they repeat.

    Returns
    -------
    ndarray of uint8, shape [n, 3]
        RGB.
    """
    colours = _farthest_colours(256 if n <= 256 else 2048)
    return colours[np.arange(n) % len(colours)]


@lru_cache
def _farthest_colours(n: int) -> NDArray[np.uint8]:
    levels = np.linspace(0, 255, 17).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _cielab(candidates)
    kept = (lab[:, 0] >= 30) & (lab[:, 0] <= 92) & (np.hypot(lab[:, 1], lab[:, 2]) <= 85)
    candidates, lab = candidates[kept], lab[kept]
    taken = _cielab(np.array([[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]]))
    distance = np.min(((lab[:, None] - taken) ** 2).sum(-1), axis=1)
    chosen = np.empty(n, np.int64)
    to_last = np.full(len(lab), np.inf)
    for i in range(n):
        chosen[i] = np.where(to_last > _NEXT_APART**2, distance, 0.0).argmax()
        to_last = ((lab - lab[chosen[i]]) ** 2).sum(-1)
        distance = np.minimum(distance, to_last)
    return candidates[chosen].astype(np.uint8)


def _cielab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB in 0..255 to CIELAB under D65 (IEC 61966-2-1, CIE 15)."""
    c = rgb / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124564, 0.2126729, 0.0193339], [0.3575761, 0.7151522, 0.1191920], [0.1804375, 0.0721750, 0.9503041]]
    )
    t = xyz / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def paint(patch_map: np.ndarray, labels: np.ndarray, k: int) -> Labels:
    """Return the label of every patch's segment.

    Parameters
    ----------
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w).
    labels : ndarray
        Cluster of every segment, shape (S,).
    k : int
        Number of clusters: above 254 the labels are uint16 with noise 65535, else uint8 with noise 255.
    """
    noise, dtype = (NOISE_8, np.uint8) if k < NOISE_8 else (NOISE_16, np.uint16)
    # Index -1, the noise patches, picks the value appended last.
    painted: Labels = np.append(labels, noise).astype(dtype)[patch_map]
    return painted
