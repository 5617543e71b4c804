"""Colour profiles: pixels of other colour spaces are converted to sRGB, which networks were trained on."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

#: Colour space of a profile, as it says itself, and the mode of pixels that it fits.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}

_CONVERTED, _UNUSABLE = "colours converted to sRGB by the profile of the file", "colour profile that cannot be used"

#: Pixels that are converted at a time.
_STRIP = 2**20


def to_srgb(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Convert a loaded 8-bit image by its ICC profile; return it with a few words on that, None if nothing changed.

    A profile that is damaged, or does not fit the pixels, is left aside: a viewer does the same.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode == "1":
        return image, None
    base, alpha = image, None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        base = image.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    elif image.mode == "P":
        base = image.convert("RGB")
    try:
        transform = _transform(profile, base.mode)
        if transform is None:
            return image, None
        converted = ImageCms.applyTransform(base, transform)
    except Exception:  # Pillow raises its own PyCMSError, and OSError, ValueError, TypeError beside it
        return image, _UNUSABLE
    if converted is None:
        return image, _UNUSABLE
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, _CONVERTED


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the conversion of a mode of pixels by a profile; None where they are sRGB already."""
    opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    if mode != _MODES.get(opened.profile.xcolor_space):
        raise ValueError(f"a profile of {opened.profile.xcolor_space} for pixels of mode {mode}")
    if "srgb" in (opened.profile.profile_description or "").lower():
        return None
    return ImageCms.buildTransform(opened, _srgb(), mode, "RGB")


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_rgb(image: Image.Image, bands: tuple[int, ...]) -> NDArray[np.uint8]:
    """Convert a decoded 8-bit image of any Pillow mode to RGB, laid over white; of grey, one band if bands count."""
    clear = image.has_transparency_data
    mode = "L" if bands and not clear and image.mode in ("1", "L") else "RGB"
    width, height = image.size
    pixels = np.empty((height, width, 3) if mode == "RGB" else (height, width), np.uint8)
    # Strip by strip: a large image is not copied as a whole for every conversion.
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = image if height <= rows else image.crop((0, top, width, min(height, top + rows)))
        if clear:
            layer = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        pixels[top : top + rows] = np.asarray(strip.convert(mode))
    return pixels
