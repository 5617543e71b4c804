"""Colour profiles: pixels of other colour spaces are converted to sRGB, which networks were trained on."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

#: Colour space of a profile, as it says itself, and the mode of pixels that it fits.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}

_CONVERTED, _UNUSABLE = "colours converted to sRGB by the profile of the file", "colour profile that cannot be used"


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
