"""Label maps: from patches to pixels, and to and from PNG bytes.

Labels are uint8 with noise 255, or uint16 with noise 65535 for more than 254 clusters.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.opening import is_lossy, load_image, reading
from datus2_ray.core.images.rendering import LARGEST_MEGAPIXELS
from datus2_ray.errors import ImageError

NOISE_8 = 255
NOISE_16 = 65535

Labels = NDArray[np.uint8] | NDArray[np.uint16]


def unlabelled(shape: tuple[int, ...], count: int) -> Labels:
    """Return labels that are all noise, of the type that `count` classes or clusters need."""
    return np.full(shape, NOISE_8, np.uint8) if count < NOISE_8 else np.full(shape, NOISE_16, np.uint16)


def paint(patch_map: np.ndarray, labels: np.ndarray, k: int) -> Labels:
    """Return the label of every patch's segment, of the type that k clusters need.

    Parameters
    ----------
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w).
    labels : ndarray
        Cluster of every segment, in [0, k), shape (S,).
    """
    noise = unlabelled((1,), k)
    # Index -1, the noise patches, picks the value appended last.
    painted: Labels = np.append(labels, noise).astype(noise.dtype)[patch_map]
    return painted


def patch_labels(labels: bytes, height: int, width: int) -> Labels:
    """Restore the label map [height, width] of patches from its raw bytes; their number tells the type."""
    if len(labels) == height * width:
        return np.frombuffer(labels, np.uint8).reshape(height, width)
    return np.frombuffer(labels, np.uint16).reshape(height, width)


def upsample_nearest(labels: Labels, height: int, width: int) -> Labels:
    """Resize a label map [h, w] to [height, width]: a pixel takes the label of the patch that covers its centre.

    Pixel y of H takes patch floor((y + 0.5) h / H). The new size may be smaller.
    """
    # Integer arithmetic: (2y + 1) h / 2H has no rounding to go wrong at patch borders.
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    # Columns, then rows: a sixth of the time of indexing both at once.
    upsampled: Labels = labels[:, columns][rows]
    return upsampled


def encode_labels(labels: Labels) -> bytes:
    """Encode a label map as a grey PNG without loss, 8 bits deep for uint8 and 16 bits for uint16."""
    return _png(Image.fromarray(labels))


def decode_labels(data: bytes, max_megapixels: int = LARGEST_MEGAPIXELS) -> Labels:
    """Decode class or cluster ids from an image file: its grey values or palette indices, never its colours.

    Parameters
    ----------
    data : bytes
        Grey PNG of 1, 2, 4, 8 or 16 bits, palette PNG, grey or palette BMP or TIFF; or RGB with equal channels.
    max_megapixels : int
        Larger ones are refused. Of files of other people, the size of their image says what is too large.

    Returns
    -------
    ndarray of uint8 or uint16, shape [H, W]
        uint16 for 16 bits per pixel.

    Raises
    ------
    ImageError
        Of kind ``empty``, ``unreadable`` or ``too_large`` as in :func:`~decode.decode`, or ``mask_format`` for JPEG,
        colours, alpha, or numbers outside [0, 65535].
    """
    with reading(max_megapixels):
        image = load_image(data, max_megapixels)
        # Pillow widens grey PNG of 2 and 4 bits to 0..255; ids must stay as they are in the file.
        widened = {2: 85, 4: 17}.get(data[24], 1) if image.format == "PNG" else 1
        if is_lossy(image, data):
            raise ImageError("mask_format", f"{image.format} changes class ids; store masks as PNG")
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
    """Encode a label map [H, W] as a palette PNG: viewers show it in colour, its indices are the labels.

    `colours` are RGB of labels 0, 1, …, up to 254, shape [K, 3]. Labels without a colour, and noise (255), are black.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: min(len(colours), NOISE_8)] = colours[:NOISE_8]
    image = Image.fromarray(labels)
    image.putpalette(table.tobytes())
    return _png(image)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
