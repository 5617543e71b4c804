"""Decode image files to RGB arrays; every failure is an :class:`~datus2_ray.errors.ImageError`.

The bytes are not trusted: Pillow may only try the formats listed here (its EPS reader, for one, starts Ghostscript),
and the size is checked in the header before a pixel is decoded.
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

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
MIN_SIDE = 8
MAX_PIXELS = 100_000_000

#: Maximum ratio of the sides where the aspect is kept; a longer image is squeezed.
MAX_ASPECT = 3

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")


def decode(data: bytes, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode an image to 8-bit RGB, upright.

    Grey, palette, CMYK (also Adobe's inverted JPEG), YCbCr and LAB are converted to RGB. Transparent pixels are laid
    over white, as viewers and browsers show them. 16-bit grey is scaled from its whole range. 32-bit integers and
    floats have no fixed range: values within [0, 1] are multiplied by 255, all others are scaled from their finite min
    and max. The first frame of an animation is taken. The EXIF (or XMP) orientation is applied.

    Parameters
    ----------
    data : bytes
        A JPEG, PNG, BMP, GIF, TIFF or WebP file.
    min_side : int, optional
        Decode a JPEG at 1/2, 1/4 or 1/8 of its size where both sides stay at least this long: faster, from the low
        frequencies of its blocks. The pixels differ from those of resizing, and between versions of libjpeg.

    Returns
    -------
    ndarray of uint8, shape [H, W, 3]
        Writable, contiguous.

    Raises
    ------
    ImageError
        Of kind ``empty`` (no bytes), ``unreadable`` (no image, cut off or damaged), ``too_small`` (a side under 8
        pixels) or ``too_large`` (over 100 megapixels).
    """
    with reading():
        image = open_image(data)
        check_sides(image.height, image.width)
        if min_side is not None:
            image.draft(None, (min_side, min_side))  # does nothing for other formats
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        return _rgb(image)


def resize(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize [H, W, 3] or [H, W] by Pillow's bicubic filter on uint8, antialiased; the aspect is not kept."""
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def fit(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Compute the height and width nearest to an image's aspect whose sides are multiples of a number.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    short_side : int
        New length of the shorter side; the longer one is at most :data:`MAX_ASPECT` times this.
    multiple : int
        Side of a patch in pixels; divides `short_side`.
    """
    scale = short_side / min(height, width)
    long_side = min(scale * max(height, width), MAX_ASPECT * short_side)
    long_side = max(short_side, round(long_side / multiple) * multiple)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image and check its size, within :func:`reading`; no pixel is decoded."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    image = Image.open(BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"{width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels")
    return image


@contextmanager
def reading() -> Iterator[None]:
    """Convert all errors of Pillow in this block to an ``ImageError`` of one line, and silence Pillow's warnings.

    Object addresses are removed: the messages are stored in tables, which must be the same in every run.
    """
    with warnings.catch_warnings():
        # Only Pillow's: if two threads restore the filters in the wrong order, no other warnings are lost.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        except ImageError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageError("too_large", f"more than {MAX_PIXELS // 1_000_000} megapixels") from error
        except UnidentifiedImageError as error:
            raise ImageError("unreadable", f"not a {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image") from error
        except Exception as error:  # broken bytes surface from Pillow as some fifteen types, struct.error among them
            cause = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
            raise ImageError("unreadable", f"damaged or cut off ({type(error).__name__}: {cause[:200]})") from error


def check_sides(height: int, width: int) -> None:
    """Raise an ``ImageError`` of kind ``too_small`` or ``too_large`` for an unusable size in pixels."""
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"{width}x{height} pixels, a side has at least {MIN_SIDE}")
    if width * height > MAX_PIXELS:
        raise ImageError("too_large", f"more than {MAX_PIXELS // 1_000_000} megapixels")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none or the metadata are damaged."""
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
    """Scale numbers without a fixed range to 0..255; what is not finite becomes 0."""
    values = numbers.astype(np.float32)
    finite = np.isfinite(values)
    low = values.min(where=finite, initial=np.inf)
    high = values.max(where=finite, initial=-np.inf)
    if low >= 0.0 and high <= 1.0:
        low, high = np.float32(0.0), np.float32(1.0)
    values[~finite] = low
    # Halves first: the whole span may be more than float32 can hold.
    values = (values / 2 - low / 2) * (np.float32(255.0) / max(high / 2 - low / 2, np.float32(1e-30)))
    stretched: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 255.0)).astype(np.uint8)
    return stretched
