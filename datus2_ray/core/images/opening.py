"""Opening image files that are not trusted: their format, their size before a pixel is decoded, their errors.

Pillow may only try the formats listed here: its EPS reader, for one, starts Ghostscript.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from datus2_ray.core.images.plain import without_metadata
from datus2_ray.core.images.rendering import MAX_MEGAPIXELS
from datus2_ray.core.images.sniff import HEAD, what_is
from datus2_ray.errors import ImageError

try:
    from pillow_heif import register_heif_opener
except ImportError:
    _HEIF: tuple[str, ...] = ()
else:
    register_heif_opener()
    _HEIF = ("HEIF",)

MIN_SIDE = 8

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", *_HEIF)

_UNSUPPORTED = {"JPEG XL": "JPEG XL is not read; convert the file, for example to PNG"}
if not _HEIF:
    _UNSUPPORTED["HEIC"] = "HEIC is read where pillow-heif is installed: pip install 'datus2-ray[heic]'"


def open_image(data: bytes, max_megapixels: int = MAX_MEGAPIXELS) -> Image.Image:
    """Read the header of an image and check its size, within :func:`reading`; no pixel is decoded."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    if (name := what_is(data[:HEAD])) in _UNSUPPORTED:
        raise ImageError("unsupported", _UNSUPPORTED[name])
    # Pillow itself refuses what is twice as large as its own limit.
    if Image.MAX_IMAGE_PIXELS is not None and max_megapixels * 500_000 > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_megapixels * 500_000
    image = Image.open(BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > max_megapixels * 1_000_000:
        raise _too_large(f"{width}x{height} pixels, ", max_megapixels)
    return image


def load_image(data: bytes, max_megapixels: int = MAX_MEGAPIXELS) -> Image.Image:
    """Decode a file to Pillow's image as it is stored, within :func:`reading`; damaged metadata are left out."""
    try:
        image = open_image(data, max_megapixels)
        image.load()
    except ImageError:
        raise
    except Exception:
        plain = without_metadata(data)
        if plain is None:
            raise
        image = open_image(plain, max_megapixels)
        image.load()
    return image


def is_lossy(image: Image.Image, data: bytes) -> bool:
    """Return whether the format of an opened file changes values, so that it can keep no ids."""
    if image.format == "JPEG2000":
        # The transformation, byte 13 of the segment COD of the codestream, is 1 where it is reversible.
        start = data.find(b"\xff\x52", data.find(b"\xff\x4f\xff\x51"))
        return data[start + 13 : start + 14] != b"\1"
    return image.format in ("JPEG", "MPO", "AVIF", "HEIF")


@contextmanager
def reading(max_megapixels: int = MAX_MEGAPIXELS) -> Iterator[None]:
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
            raise _too_large("", max_megapixels) from error
        except UnidentifiedImageError as error:
            raise ImageError("unreadable", "no image, or of a format that is not read") from error
        except Exception as error:  # broken bytes surface from Pillow as some fifteen types, struct.error among them
            cause = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(str(error).split()))
            raise ImageError("unreadable", f"damaged or cut off ({type(error).__name__}: {cause[:200]})") from error


def check_sides(height: int, width: int, max_megapixels: int = MAX_MEGAPIXELS) -> None:
    """Raise an ``ImageError`` of kind ``too_small`` or ``too_large`` for an unusable size in pixels."""
    if min(width, height) < MIN_SIDE:
        raise ImageError("too_small", f"{width}x{height} pixels, a side has at least {MIN_SIDE}")
    if width * height > max_megapixels * 1_000_000:
        raise _too_large(f"{width}x{height} pixels, ", max_megapixels)


def _too_large(size: str, max_megapixels: int) -> ImageError:
    return ImageError(
        "too_large", f"{size}more than {max_megapixels} megapixels; --set ingest.max_megapixels=N allows more"
    )
