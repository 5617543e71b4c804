"""Decode image files to RGB arrays; every failure is an :class:`~datus2_ray.errors.ImageError`.

Metadata never cost an image whose pixels decode.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from datus2_ray.core.images import deep, tiff
from datus2_ray.core.images.colour import to_rgb, to_srgb
from datus2_ray.core.images.opening import FORMATS, check_sides, open_image, reading
from datus2_ray.core.images.plain import orientation_of, without_metadata
from datus2_ray.core.images.rendering import DEFAULT, Rendering
from datus2_ray.core.images.sniff import HEAD, what_is
from datus2_ray.core.views.crop import crop_image
from datus2_ray.errors import ImageError


@dataclass
class Decoded:
    """An image before its values become 8 bits.

    Parameters
    ----------
    values : ndarray
        [H, W, 1 or 3], upright, uint8 or any other real numbers.
    valid : ndarray of bool, or None
        Which values count; None where all do.
    alpha : ndarray of uint8, shape [H, W], or None
        Opacity that is still to be applied.
    notes : list of str
        What was done that a user may want to know.
    """

    values: deep.Values
    valid: NDArray[np.bool_] | None = None
    alpha: NDArray[np.uint8] | None = None
    notes: list[str] = field(default_factory=list)

    def measure(self) -> tuple[str, float, float] | None:
        """Return the type of the values with their low and high value; None for 8 bits, or without a valid value."""
        if self.values.dtype == np.uint8:
            return None
        found = deep.measure(self.values, self.valid)
        return None if found is None else (self.values.dtype.name, *found)

    def to_rgb(self, rendering: Rendering) -> NDArray[np.uint8]:
        """Return 8-bit RGB, shape [H, W, 3], writable and contiguous."""
        pixels = self.values
        if pixels.dtype != np.uint8 or self.valid is not None:
            pixels = deep.stretch(pixels, self.valid, rendering.ranges_by_type)
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        if self.alpha is not None:
            opaque = self.alpha[:, :, None].astype(np.uint16)
            pixels = ((pixels * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
        return np.require(pixels, np.uint8, ["C", "W"])


def decode(data: bytes, min_side: int | None = None, rendering: Rendering = DEFAULT) -> NDArray[np.uint8]:
    """Decode an image to 8-bit RGB, upright.

    Grey, palette, CMYK (also Adobe's inverted JPEG), YCbCr and LAB are converted to RGB, colours of other spaces to
    sRGB by the profile of the file. Transparent pixels are laid over white, as viewers and browsers show them. Values
    of more than 8 bits are scaled by the rendering's range of their type. Without one, 16 bits are scaled from their
    whole range, others from their finite min and max, or from [0, 1] if they are within. The first frame of an
    animation and the first page of a TIFF file are taken. The EXIF (or XMP) orientation is applied.

    Parameters
    ----------
    data : bytes
        A JPEG, PNG, BMP, GIF, TIFF, WebP, AVIF, JPEG 2000 or PPM file; HEIC where pillow-heif is installed.
    min_side : int, optional
        Decode a JPEG at 1/2, 1/4 or 1/8 of its size where both sides stay at least this long: faster, from the low
        frequencies of its blocks. The pixels differ from those of resizing, and between versions of libjpeg.
    rendering : Rendering
        Bands, ranges and largest size of a set of images.

    Returns
    -------
    ndarray of uint8, shape [H, W, 3]
        Writable, contiguous.

    Raises
    ------
    ImageError
        Of kind ``empty`` (no bytes), ``unreadable`` (no image, cut off or damaged), ``unsupported`` (an extra is not
        installed), ``bands`` (fewer than are asked for), ``too_small`` (a side under 8 pixels) or ``too_large``.
    """
    pixels = _decode(data, min_side, rendering).to_rgb(rendering)
    return pixels if rendering.crop is None else crop_image(pixels, rendering.crop)


def inspect(data: bytes, rendering: Rendering = DEFAULT) -> Decoded:
    """Decode an image to its values, with notes on what was done; errors as those of :func:`decode`."""
    decoded = _decode(data, None, rendering)
    decoded.notes += _frames(data)
    return decoded


def _decode(data: bytes, min_side: int | None, rendering: Rendering) -> Decoded:
    with reading(rendering.max_megapixels):
        if (page := deep.tiff_page(data)) is not None:
            try:
                return _bands(data, page, rendering)
            except Exception as error:
                if isinstance(error, ImageError) and error.kind in ("bands", "too_large", "too_small"):
                    raise
                try:
                    return _picture(data, min_side, rendering)
                except Exception:  # what tifffile says, or that it is missing, says more
                    raise error from None
        try:
            return _picture(data, min_side, rendering)
        except ImageError:
            raise
        except Exception:
            return _retry(data, min_side, rendering)


def _retry(data: bytes, min_side: int | None, rendering: Rendering) -> Decoded:
    """Decode again without metadata, and TIFF by tifffile; called in the handler of the first attempt's error."""
    plain = without_metadata(data)
    if plain is None:
        raise
    try:
        decoded = _picture(plain, min_side, rendering, orientation_of(data))
    except ImageError:
        raise
    except Exception:
        page = deep.first_page(data)
        if page is None or not deep.has_tifffile():
            raise
        return _bands(data, page, rendering)
    decoded.notes.append("damaged metadata left out")
    return decoded


def _picture(data: bytes, min_side: int | None, rendering: Rendering, orientation: int | None = None) -> Decoded:
    """Decode by Pillow; the orientation is the file's own unless it is given."""
    image = open_image(data, rendering.max_megapixels)
    check_sides(image.height, image.width, rendering.max_megapixels)
    notes: list[str] = []
    if deep.is_deep(image):
        values = deep.read_values(image, data)
        decoded = _channels(values, rendering, _no_data(image))
        if image.info.get("icc_profile") and values.ndim == 3:
            notes.append("colour profile not applied to 16 bits")
    else:
        if min_side is not None:
            image.draft(None, (min_side, min_side))  # does nothing for other formats
        image.load()
        converted, note = to_srgb(image)
        notes += [note] if note else []
        decoded = _channels(to_rgb(converted, rendering.bands), rendering, None)
    decoded.notes = notes
    return _turn(decoded, _orientation(image) if orientation is None else orientation)


def _bands(data: bytes, page: tiff.Page, rendering: Rendering) -> Decoded:
    """Decode a TIFF page of any number of bands by tifffile."""
    check_sides(page.integer(257, 0), page.integer(256, 0), rendering.max_megapixels)
    values = deep.read_bands(data, page, rendering.max_megapixels * 1_000_000)
    chosen = deep.choose_bands(values, rendering.bands)
    decoded = Decoded(chosen, deep.valid_values(chosen, page.no_data))
    if values.shape[2] != chosen.shape[2]:
        shown = ", ".join(map(str, rendering.bands or range(1, chosen.shape[2] + 1)))
        decoded.notes.append(f"bands {shown} of {values.shape[2]}")
    return _turn(decoded, page.integer(274, 1))


def _channels(values: deep.Values, rendering: Rendering, no_data: float | None) -> Decoded:
    """Separate alpha, the last of two or four channels, and choose the bands of the others."""
    values = values if values.ndim == 3 else values[:, :, None]
    alpha = None
    if values.shape[2] in (2, 4):
        alpha = (values[:, :, -1] >> 8 if values.dtype == np.uint16 else values[:, :, -1]).astype(np.uint8)
        values = values[:, :, :-1]
    chosen = deep.choose_bands(values, rendering.bands)
    return Decoded(chosen, deep.valid_values(chosen, no_data), alpha)


def _frames(data: bytes) -> list[str]:
    """Return a note on frames or pages after the first; other pictures in a JPEG are previews, or other views of it."""
    if what_is(data[:HEAD]) == "JPEG":
        return []
    try:
        # Opened once more: to look for the second frame moves on from the first.
        with reading(), Image.open(BytesIO(data), formats=FORMATS) as image:
            if not getattr(image, "is_animated", False):
                return []
            return [f"the first of {'several pages' if image.format == 'TIFF' else 'several frames'} taken"]
    except ImageError:  # the second frame is damaged, and not wanted
        return []


def _no_data(image: Image.Image) -> float | None:
    """Return the value that GDAL notes for no data in a TIFF file."""
    try:
        return float(str(image.tag_v2.get(42113)).strip("\0 "))  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return None


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none or the metadata are damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _turn(decoded: Decoded, orientation: int) -> Decoded:
    """Turn an image upright, from one of the eight orientations of EXIF; others are none."""

    def turned(values: Any) -> Any:
        if values is None or not 2 <= orientation <= 8:
            return values
        if orientation >= 5:
            values = values.swapaxes(0, 1)
        down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
        return np.ascontiguousarray(values[:: -1 if down else 1, :: -1 if across else 1])

    values, valid, alpha = (turned(part) for part in (decoded.values, decoded.valid, decoded.alpha))
    return Decoded(values, valid, alpha, decoded.notes)
