"""Encoded image bytes to RGB arrays, and every way in which that can fail as one named error.

The bytes come from strangers: Pillow may only try the formats listed here (its EPS reader, for one, starts
Ghostscript), the size is checked in the header before a pixel is decoded, and whatever Pillow raises becomes an
:class:`~datus2_ray.errors.ImageError`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from datus2_ray.errors import ImageError

__all__ = [
    "IMAGE_SUFFIXES",
    "LEAST_SIDE",
    "MOST_ASPECT",
    "MOST_PIXELS",
    "decode",
    "fit",
    "open_image",
    "probe",
    "reading",
    "resize",
]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
LEAST_SIDE = 8
MOST_PIXELS = 100_000_000

#: How many times as long as the short side the long one may be where the aspect is kept; a longer one is squeezed.
MOST_ASPECT = 3

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
# Orientation tags 5 to 8 exchange height and width.
_TRANSPOSING = range(5, 9)
# Where a PNG keeps an orientation. Pillow decodes the whole picture to look for a trailing eXIf chunk; most have none.
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def decode(data: bytes, least_side: int | None = None) -> NDArray[np.uint8]:
    """Decode an image to 8-bit RGB, upright.

    Grey, palette, CMYK (also Adobe's inverted JPEG), YCbCr and LAB become RGB. Transparent pixels are laid over white,
    as viewers and browsers show them. 16-bit grey is scaled over its whole range (65535 becomes 255). 32-bit integers
    and floats have no fixed range: values within [0, 1] are multiplied by 255, all others are stretched from their
    least to their greatest finite value. Of an animation the first frame is taken. The EXIF (or XMP) orientation is
    applied.

    Parameters
    ----------
    data : bytes
        A JPEG, PNG, BMP, GIF, TIFF or WebP file.
    least_side : int, optional
        Let libjpeg leave out what only a larger picture needs: a JPEG whose sides are 2, 4 or 8 times as long, or more,
        is decoded at a half, a quarter or an eighth of its size, from the low frequencies of its blocks. That is not
        quite what resizing the whole picture gives, nor bitwise the same with another libjpeg.

    Returns
    -------
    ndarray of uint8, shape [H, W, 3]
        RGB, writable, contiguous.

    Raises
    ------
    ImageError
        Of kind ``empty`` (no bytes), ``unreadable`` (no image, cut off or damaged), ``too_small`` (a side under 8
        pixels) or ``too_large`` (over 100 megapixels); no other exception, whatever the bytes.
    """
    with reading():
        image = open_image(data)
        check_sides(image.height, image.width)
        if least_side is not None:
            image.draft(None, (least_side, least_side))  # does nothing for other formats
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        return _rgb(image)


def probe(data: bytes) -> tuple[int, int]:
    """Read height and width of the upright image from the header, without decoding it.

    Parameters
    ----------
    data : bytes
        As for :func:`decode`.

    Returns
    -------
    tuple of int
        Height and width of what :func:`decode` would return.

    Raises
    ------
    ImageError
        As :func:`decode`; damage behind the header goes unseen.
    """
    with reading():
        image = open_image(data)
        check_sides(image.height, image.width)
        width, height = image.size
        has_tag = image.format != "PNG" or any(marker in data for marker in _PNG_METADATA)
        # Pillow has already exchanged the two sides of a TIFF when it opens it.
        if image.format != "TIFF" and has_tag and _orientation(image) in _TRANSPOSING:
            return width, height
        return height, width


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize by Pillow's bicubic filter on uint8 (antialiased when it shrinks); the aspect is not kept.

    Parameters
    ----------
    pixels : ndarray of uint8, shape [H, W, 3] or [H, W]
        The image.
    height, width : int
        The new size in pixels.

    Returns
    -------
    ndarray of uint8, shape [height, width, 3] or [height, width]
    """
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def fit(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Give the size nearest to an image's aspect whose sides are multiples of some number.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    short_side : int
        What its shorter side becomes, in pixels; a multiple of `multiple`.
    multiple : int
        Side of a patch, in pixels.

    Returns
    -------
    tuple of int
        Height and width; the longer one is at most :data:`MOST_ASPECT` times the shorter.
    """
    scale = short_side / min(height, width)
    long_side = min(scale * max(height, width), MOST_ASPECT * short_side)
    long_side = max(short_side, round(long_side / multiple) * multiple)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def open_image(data: bytes) -> Image.Image:
    """Open an image lazily, within :func:`reading`: its header is read and its size checked, no pixel is decoded."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    image = Image.open(BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageError("too_large", f"{width}x{height} pixels, more than {MOST_PIXELS // 1_000_000} megapixels")
    return image


@contextmanager
def reading() -> Iterator[None]:
    """Turn whatever Pillow raises in this block into an ``ImageError`` of one line, and silence its warnings.

    The lines hold no object addresses: they end up in tables, and two runs must give the same tables.
    """
    with warnings.catch_warnings():
        # Only Pillow's: should two threads restore the filters in the wrong order, nobody else's warnings are lost.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError("too_large", f"more than {MOST_PIXELS // 1_000_000} megapixels") from error
        except UnidentifiedImageError as error:
            raise ImageError("unreadable", f"not a {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image") from error
        except Exception as error:  # broken bytes surface from Pillow as some fifteen types, struct.error among them
            cause = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
            raise ImageError("unreadable", f"damaged or cut off ({type(error).__name__}: {cause[:200]})") from error


def check_sides(height: int, width: int) -> None:
    """See that an image of this size in pixels can be used.

    Raises
    ------
    ImageError
        Of kind ``too_small`` or ``too_large``.
    """
    if min(width, height) < LEAST_SIDE:
        raise ImageError("too_small", f"{width}x{height} pixels, a side has at least {LEAST_SIDE}")
    if width * height > MOST_PIXELS:
        raise ImageError("too_large", f"more than {MOST_PIXELS // 1_000_000} megapixels")


def _orientation(image: Image.Image) -> int:
    """Give the EXIF orientation, 1 where there is none: damaged metadata do not make an image unusable."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Convert a decoded image of any Pillow mode to RGB."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        return np.repeat(_stretch(np.asarray(image))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.array(image.convert("RGB"))


def _stretch(numbers: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """Bring numbers without a fixed range to 0..255; what is not finite becomes 0."""
    values = numbers.astype(np.float32)
    finite = np.isfinite(values)
    least = values.min(where=finite, initial=np.inf)
    greatest = values.max(where=finite, initial=-np.inf)
    if least >= 0.0 and greatest <= 1.0:
        least, greatest = np.float32(0.0), np.float32(1.0)
    values[~finite] = least
    # Halves first: the whole span may be more than float32 can hold.
    values = (values / 2 - least / 2) * (np.float32(255.0) / max(greatest / 2 - least / 2, np.float32(1e-30)))
    stretched: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)
    return stretched
