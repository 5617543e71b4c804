"""Ground-truth maps as files have them: ids, palette indices with their colours, or colours.

Which of the values are classes only the maps of a whole set can tell (``classes.py``), so a map is kept without loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.labels import NOISE_16
from datus2_ray.core.images.opening import is_lossy, load_image, reading
from datus2_ray.core.images.rendering import LARGEST_MEGAPIXELS
from datus2_ray.core.views.crop import crop_labels
from datus2_ray.errors import ImageError

#: Ids or colours of one map. Class maps have some ten in an image, maps of instances or with soft edges hundreds.
MAX_VALUES = 256

#: Pixels that are counted at a time, in at most a 32nd as many columns: beside a map of any size they take 80 MB.
PIXELS_COUNTED = 1 << 20


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A ground-truth map.

    Parameters
    ----------
    values : ndarray
        Ids or palette indices, uint8 or uint16, shape [H, W]; or colours, uint8, shape [H, W, 3].
    palette : ndarray of uint8, shape [n, 3], or None
        Colours of palette indices.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16]
    palette: NDArray[np.uint8] | None = None

    @property
    def coloured(self) -> bool:
        """Whether the map has colours and no ids."""
        return self.values.ndim == 3

    def ids(self) -> NDArray[np.uint32]:
        """Return the ids or palette indices, shape [H, W]; of colours the first channel."""
        return (self.values[:, :, 0] if self.coloured else self.values).astype(np.uint32)

    def colours(self) -> NDArray[np.uint32]:
        """Return the colours as 0xRRGGBB, shape [H, W]; an id is the grey of its value."""
        if self.coloured:
            red, green, blue = (self.values[:, :, channel].astype(np.uint32) for channel in range(3))
            return np.asarray(red << 16 | green << 8 | blue, np.uint32)
        return self._table()[self.values]

    def codes(self) -> NDArray[np.uint32]:
        """Return what tells values apart: ids, or colours where the map has no ids."""
        return self.colours() if self.coloured else self.ids()

    def crop(self, side: int | None) -> LabelMap:
        """Return the square in the middle, see :func:`~datus2_ray.core.views.crop.crop_labels`; itself for None."""
        return self if side is None else LabelMap(crop_labels(self.values, side), self.palette)

    def encode(self) -> bytes:
        """Encode the map as PNG without loss: grey of 8 or 16 bits, palette, or RGB."""
        image = Image.fromarray(self.values)
        if self.palette is not None:
            image.putpalette(self.palette.tobytes())
        file = BytesIO()
        image.save(file, format="PNG")
        return file.getvalue()

    def count(self) -> NDArray[np.int64]:
        """Count the pixels of every value.

        Returns
        -------
        ndarray of int64, shape [n, 4]
            Id or palette index (-1 for colours), colour 0xRRGGBB (-1 for grey ids), pixels, and pixels inside: those
            whose four neighbours have the same value. What soft edges add has none.

        Raises
        ------
        ImageError
            Of kind ``mask_format``, if there are more than :data:`MAX_VALUES` values.
        """
        height, width = self.values.shape[:2]
        columns = min(width, max(1, PIXELS_COUNTED // 32))
        rows = max(1, PIXELS_COUNTED // columns)
        counted = []
        for top, left in product(range(0, height, rows), range(0, width, columns)):
            # A pixel around each tile says what is inside of it.
            around = self.values[max(0, top - 1) : top + rows + 1, max(0, left - 1) : left + columns + 1]
            own = slice(min(top, 1), min(top, 1) + rows), slice(min(left, 1), min(left, 1) + columns)
            counted.append(_count(LabelMap(around, self.palette).codes(), own))
            self._check_few(len(counted[-1][0]))
        codes, pixels, inside = (np.concatenate(columns) for columns in zip(*counted, strict=True))
        found, places = np.unique(codes, return_inverse=True)
        self._check_few(len(found))
        sums = (np.bincount(places, weights=some, minlength=len(found)) for some in (pixels, inside))
        ids = np.full(len(found), -1) if self.coloured else found
        colours = np.full(len(found), -1)
        if self.coloured:
            colours = found
        elif self.palette is not None:
            colours = self._table()[found]
        return np.column_stack([ids, colours, *sums]).astype(np.int64)

    def _check_few(self, values: int) -> None:
        if values > MAX_VALUES:
            raise ImageError(
                "mask_format",
                f"mask: {values:,} or more {'colours' if self.coloured else 'ids'} in one image: soft edges or "
                "instances, not classes",
            )

    def _table(self) -> NDArray[np.uint32]:
        """Return the colour of every id as 0xRRGGBB."""
        if self.palette is None:
            return np.minimum(np.arange(NOISE_16 + 1, dtype=np.uint32), 255) * np.uint32(0x010101)
        table = np.zeros(256, np.uint32)
        red, green, blue = self.palette.astype(np.uint32).T
        table[: len(self.palette)] = red << 16 | green << 8 | blue
        return table


def _count(
    codes: NDArray[np.uint32], own: tuple[slice, slice]
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Count the values of a part of some codes: each value, its pixels, and those inside."""
    # Runs of equal pixels: there are few of them, and sorting is what takes the time.
    flat = codes[own].ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    found, places = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, flat.size))
    insides = np.add.reduceat(_inside(codes)[own].ravel(), starts, dtype=np.int64)
    pixels, inside = (np.bincount(places, weights=some, minlength=len(found)) for some in (lengths, insides))
    return found, pixels.astype(np.int64), inside.astype(np.int64)


def _inside(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    inside = np.zeros(codes.shape, bool)
    beside = codes[:, 1:] == codes[:, :-1]
    below = codes[1:] == codes[:-1]
    inside[1:-1, 1:-1] = beside[1:-1, 1:] & beside[1:-1, :-1] & below[1:, 1:-1] & below[:-1, 1:-1]
    return inside


def read_label_map(data: bytes, max_megapixels: int = LARGEST_MEGAPIXELS) -> LabelMap:
    """Read a ground-truth map from an image file.

    Parameters
    ----------
    data : bytes
        PNG, BMP, TIFF or WebP: grey of up to 16 bits, palette, RGB, or numbers that are whole; transparent pixels are
        black. GIF is read by its colours: programs that write it number them anew in every file.
    max_megapixels : int
        Larger ones are refused. Of files of other people, the size of their image says what is too large.

    Raises
    ------
    ImageError
        Of kind ``empty``, ``unreadable`` or ``too_large`` as :func:`~datus2_ray.core.images.decode.decode` raises, or
        ``mask_format`` for lossy formats, numbers that are no ids, or half-transparent pixels.
    """
    with reading(max_megapixels):
        image = load_image(data, max_megapixels)
        # Pillow widens grey PNG of 2 and 4 bits to 0..255; ids must stay as they are in the file.
        widened = {2: 85, 4: 17}.get(data[24], 1) if image.format == "PNG" and image.mode == "L" else 1
        if is_lossy(image, data):
            raise ImageError("mask_format", f"mask: {image.format} changes ids at every border; save masks as PNG")
        if image.format == "GIF":
            image = image.convert("RGB")
        mode, values = image.mode, np.array(image)
        palette = np.array(image.getpalette(), np.uint8).reshape(-1, 3) if mode == "P" else None
    if mode in ("LA", "PA", "RGBA"):
        opaque = values[:, :, -1]
        if not np.isin(opaque, (0, 255)).all():
            raise ImageError(
                "mask_format", "mask: half-transparent pixels belong to no class; save masks without alpha"
            )
        if mode == "PA":
            values = np.array(image.convert("RGBA"))
        values = np.where(opaque[:, :, None] == 0, 0, values[:, :, :-1]).astype(np.uint8)
        return LabelMap(values[:, :, 0] if mode == "LA" else values)
    if mode in ("I", "F"):
        return LabelMap(_whole(values))
    if mode.startswith("I;16"):
        return LabelMap(values.astype(np.uint16))
    if mode in ("1", "L", "P"):
        return LabelMap(values.astype(np.uint8) // np.uint8(widened), palette)
    if mode == "RGB":
        return LabelMap(values)
    raise ImageError("mask_format", f"mask: expected ids (grey or palette) or colours, found Pillow's mode {mode}")


def _whole(numbers: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return whole numbers as ids; what is no number, and -1, is void."""
    void = ~np.isfinite(numbers) | (numbers == -1)
    ids = np.where(void, NOISE_16, numbers)
    if (ids != np.rint(ids)).any() or ids.min() < 0 or ids.max() > NOISE_16:
        raise ImageError("mask_format", f"mask: ids are whole numbers from 0 to {NOISE_16}")
    return ids.astype(np.uint16)
