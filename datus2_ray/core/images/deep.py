"""Images of more than 8 bits, of numbers, or of more bands than three: their values, and how these become 8 bits.

Sixteen bits of a colour image are read by Pillow in two passes, as Pillow has no such mode; TIFF that Pillow does not
open is read by tifffile, an extra.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images import tiff
from datus2_ray.errors import ImageError

Values = NDArray[Any]

#: Low and high values by the type of the numbers, for example ``uint16``: they become 0 and 255.
Ranges = Mapping[str, tuple[float, float]]

#: Pillow's names for 16 bits per channel; each reads one byte of the two, the other reads the other.
_HALVES = {"16B": "16L", "16L": "16B", "16N": "16B"}

_COLOURS = ("RGB", "RGBX", "RGBA", "LA")

#: Rows that are scaled at a time, as 64-bit floats.
_ROWS = 64

#: Share of an image's values that may lie below its low and above its high value.
_OUTSIDE = 0.001

#: Values of an image that are looked at for its range.
_SAMPLE = 1_000_000


def is_deep(image: Image.Image) -> bool:
    """Return whether an opened image has more than 8 bits per channel."""
    raw, _, depth = _rawmode(image).partition(";")
    return image.mode.startswith("I") or image.mode == "F" or (raw in _COLOURS and depth in _HALVES)


def read_values(image: Image.Image, data: bytes) -> Values:
    """Decode an opened image of more than 8 bits to its values, shape [H, W] or [H, W, C]; `data` are its bytes."""
    if image.mode.startswith("I") or image.mode == "F":
        image.load()
        values: Values = np.asarray(image)
        return values.astype(np.uint16) if image.mode.startswith("I;16") else values
    if _rawmode(image) == "LA;16B":  # both bytes of grey and of alpha, each as a channel
        bytes_ = np.asarray(_load(image, "RGBA"))
        high, low = bytes_[:, :, 0::2], bytes_[:, :, 1::2]
    else:
        raw, _, depth = _rawmode(image).partition(";")
        high = np.asarray(_load(image, f"{raw};{depth}"))
        with Image.open(BytesIO(data), formats=[str(image.format)]) as again:
            low = np.asarray(_load(again, f"{raw};{_HALVES[depth]}"))
    values = high.astype(np.uint16) << 8
    values |= low
    return values


def _rawmode(image: Image.Image) -> str:
    """Return Pillow's name for how the pixels lie in the file; empty where there is none."""
    tile = getattr(image, "tile", None)
    args = tile[0][3] if tile else None
    rawmode = args[0] if isinstance(args, tuple) and args else args
    return rawmode if isinstance(rawmode, str) else ""


def _load(image: Image.Image, rawmode: str) -> Image.Image:
    """Load an opened image as if its pixels lay in the file in another way."""
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    image.load()
    return image


def has_tifffile() -> bool:
    """Return whether tifffile is installed."""
    return find_spec("tifffile") is not None


def first_page(data: bytes) -> tiff.Page | None:
    """Return the first page of a TIFF file; None for all other files."""
    pages = tiff.pages_of(data, most=1)
    return pages[0] if pages else None


def tiff_page(data: bytes) -> tiff.Page | None:
    """Return the first page of a TIFF file that Pillow does not read as it is; None for all other files."""
    page = first_page(data)
    if page is None:
        return None
    bits, samples, number = max(page.integers(258), default=1), page.integer(277, 1), page.integer(339, 1)
    colour = page.integer(262, 1) in (2, 5, 6, 8)
    if samples > 4 or (samples > 2 and not colour) or (samples > 1 and (bits > 16 or number > 1)) or bits > 32:
        return page
    separate = samples > 1 and bits > 8 and page.integer(284, 1) == 2
    return page if separate or (samples == 2 and (bits > 8 or not page.integers(338))) or bits in (10, 14, 24) else None


def read_bands(data: bytes, page: tiff.Page, max_pixels: int) -> Values:
    """Decode a page by tifffile, shape [H, W, C], without its alpha.

    Raises
    ------
    ImageError
        Of kind ``unsupported`` if tifffile is not installed, ``too_large`` if all bands together are.
    """
    height, width, samples = page.integer(257, 0), page.integer(256, 0), page.integer(277, 1)
    bits = max(page.integers(258), default=1)
    if height * width * max(1, samples * bits // 24) > 4 * max_pixels:
        raise ImageError("too_large", f"{width}x{height} pixels of {samples} bands and {bits} bits")
    if not has_tifffile():
        words = f"TIFF of {samples} band{'s' if samples > 1 else ''} and {bits} bits"
        raise ImageError("unsupported", f"{words}; pip install 'datus2-ray[tiff]' to read it")
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # what is wrong is said by the error
    with tifffile.TiffFile(BytesIO(data)) as file:
        first = file.pages.first
        values = np.asarray(first.asarray())
        if str(first.axes).startswith("S"):
            values = np.moveaxis(values, 0, -1)
    values = values.reshape(height, width, -1)
    if values.dtype.kind not in "buif":
        raise ImageError("unsupported", f"numbers of type {values.dtype}; give real numbers")
    extra = page.integers(338)
    kept = [band for band in range(samples) if band < samples - len(extra) or extra[band - samples] not in (1, 2)]
    return values[:, :, kept] if len(kept) < samples else values


def choose_bands(values: Values, bands: tuple[int, ...]) -> Values:
    """Return one or three bands [H, W, 1 or 3] of [H, W, C]: the given ones, from 1 on, or else the first three.

    Raises
    ------
    ImageError
        Of kind ``bands`` if the image has fewer.
    """
    count = values.shape[2]
    if bands and max(bands) > count:
        asked, has = ", ".join(map(str, bands)), "one band" if count == 1 else f"{count} bands"
        raise ImageError("bands", f"{has}, but bands {asked} are asked for; change --bands")
    chosen = bands or ((1, 2, 3) if count >= 3 else (1,))
    return values[:, :, [band - 1 for band in chosen]]


def valid_values(values: Values, no_data: float | None) -> NDArray[np.bool_] | None:
    """Return which values are finite numbers and not the value that stands for no data; None if all are."""
    valid = np.isfinite(values) if values.dtype.kind == "f" else None
    if no_data is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # a value that the type cannot hold does not occur
            found = values != np.asarray(no_data).astype(values.dtype)
        valid = found if valid is None else valid & found
    return valid


def measure(values: Values, valid: NDArray[np.bool_] | None) -> tuple[float, float] | None:
    """Return low and high value of an image, without its lowest and highest thousandth; None if no value is valid."""
    step = max(1, values.size // _SAMPLE)
    found = values.reshape(-1)[::step]
    found = found if valid is None else found[valid.reshape(-1)[::step]]
    if not len(found):
        return None
    low, high = np.quantile(found.astype(np.float64), (_OUTSIDE, 1 - _OUTSIDE), method="nearest")
    return float(low), float(high)


def stretch(values: Values, valid: NDArray[np.bool_] | None, ranges: Ranges) -> NDArray[np.uint8]:
    """Scale values to 0..255 by the range of their type; values that are not valid become 0.

    Without a range, 8 and 16 bits have their own; of others the image's finite min and max count. A range within
    [0, 1] of floats is [0, 1].
    """
    kind = values.dtype.name
    if kind == "uint8":
        low, high = 0.0, 255.0
    elif kind in ranges:
        low, high = ranges[kind]
    elif kind == "uint16":
        low, high = 0.0, 65535.0
    else:
        found = values if valid is None else values[valid]
        low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    if values.dtype.kind == "f" and low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    # Halves first: the whole span may be more than a float can hold.
    scale = 255.0 / max(high / 2 - low / 2, 1e-30)

    def scaled(numbers: Values) -> NDArray[Any]:
        return np.rint(np.clip((numbers.astype(np.float64) / 2 - low / 2) * scale, 0.0, 255.0))

    # Of 16 bits, each value is scaled once.
    table = scaled(np.arange(65536)).astype(np.uint8) if kind == "uint16" else None
    pixels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        if table is not None:
            pixels[rows] = table[values[rows]]
        else:
            pixels[rows] = scaled(values[rows] if valid is None else np.where(valid[rows], values[rows], low))
    if valid is not None:
        pixels[~valid] = 0
    return pixels
