"""Windows of a picture that is too large to be one image: a grid of squares, smaller at the right and lower side."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

from PIL import Image

from datus2_ray.core.images.opening import load_image, open_image, reading
from datus2_ray.core.images.rendering import MAX_MEGAPIXELS


def grid(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the rows and columns of windows of a side in pixels."""
    return -(-height // side), -(-width // side)


def names(shape: tuple[int, int]) -> list[str]:
    """Return the names of the windows of a grid, row by row."""
    return [f"row-{row:02d}-column-{column:02d}" for row in range(shape[0]) for column in range(shape[1])]


def size(data: bytes, max_megapixels: int = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Return height and width of an encoded picture, from its header.

    Raises
    ------
    ImageError
        If it is no picture, or larger.
    """
    with reading(max_megapixels):
        image = open_image(data, max_megapixels)
        return image.height, image.width


def cut(data: bytes, number: int, side: int, max_megapixels: int = MAX_MEGAPIXELS) -> bytes:
    """Return a window of an encoded picture as PNG, its values unchanged.

    Parameters
    ----------
    data : bytes
        8 bits per channel: grey, palette or RGB.
    number : int
        Place in :func:`names`.
    side : int
        Of the windows in pixels.

    Raises
    ------
    ImageError
        If the picture cannot be decoded, or is larger.
    """
    picture = _decode(data, max_megapixels)
    columns = grid(picture.height, picture.width, side)[1]
    top, left = number // columns * side, number % columns * side
    window = picture.crop((left, top, min(picture.width, left + side), min(picture.height, top + side)))
    file = BytesIO()
    with reading(max_megapixels):
        window.save(file, "PNG", compress_level=1)
    return file.getvalue()


# The picture and its mask: windows of one file follow each other.
@lru_cache(maxsize=2)
def _decode(data: bytes, max_megapixels: int) -> Image.Image:
    with reading(max_megapixels):
        return load_image(data, max_megapixels)
