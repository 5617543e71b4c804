"""Annotations in a zip file of CVAT's format "Segmentation mask 1.1"."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from datus2_ray.core.images.labels import Labels, unlabelled
from datus2_ray.core.images.opening import open_image, reading
from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.annotations import Annotations, check_classes
from datus2_ray.exports.cvat import BACKGROUND
from datus2_ray.exports.format import check_colours

FOLDER = "SegmentationClass/"

#: Max bytes of a file in the zip, what is larger is no mask; and of all of them, per byte of the zip.
MAX_BYTES, MAX_RATIO = 2**26, 20


def read_cvat(data: bytes, where: str) -> Annotations:
    """Read a zip file of CVAT; raise a UsageError that names it as `where` if it is none."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as file:
            sizes = {info.filename: info.file_size for info in file.infolist()}
            largest = max(sizes, key=lambda name: sizes[name])
            if sizes[largest] > MAX_BYTES:
                raise UsageError(f"{where}: {largest} has {sizes[largest]} bytes, max {MAX_BYTES}")
            if (total := sum(sizes.values())) > MAX_RATIO * len(data) + MAX_BYTES:
                raise UsageError(f"{where} of {len(data)} bytes would unpack to {total}: masks, as PNG, do not shrink")
            labels = file.read("labelmap.txt").decode()
            masks = [name for name in sizes if name.startswith(FOLDER) and name.endswith(".png")]
            images = {name[len(FOLDER) :]: file.read(name) for name in masks}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        # The last two: packed in a way that Python does not know, or encrypted.
        raise UsageError(f'{where} is no zip file of CVAT\'s "Segmentation mask 1.1" ({error})') from error
    classes = [named for line in labels.splitlines() if (named := _class(line, where)) is not None]
    check_classes((named.name for named in classes), where)
    check_colours(classes, None)
    return Annotations(tuple(classes), images, DrawCvat(tuple(named.colour for named in classes)))


def _class(line: str, where: str) -> NamedClass | None:
    if not line.strip() or line.startswith("#"):
        return None
    try:
        name, colour, _, _ = line.split(":")
        red, green, blue = (int(value) for value in colour.split(","))
        return None if name == BACKGROUND else NamedClass(name.strip(), f"#{bytes((red, green, blue)).hex()}")
    except ValueError as error:
        raise UsageError(f"{where}: the line {line!r} of labelmap.txt is not of the form name:R,G,B::") from error


@dataclass(frozen=True)
class DrawCvat:
    """Finds the class of every pixel by its colour; a pixel of any other colour has none."""

    colours: tuple[str, ...]

    def __call__(self, drawn: bytes, height: int, width: int) -> Labels:
        """Return class ids [height, width]."""
        with reading():
            image = open_image(drawn)
            if (image.height, image.width) != (height, width):
                size = f"{image.width}x{image.height} pixels for an image of {width}x{height}"
                raise ImageError("mask_size", f"mask of {size}")
            red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.uint32), 2, 0)
        found = red << 16 | green << 8 | blue
        # One pass however many classes there are.
        colours = np.array([int(colour[1:], 16) for colour in self.colours], np.uint32)
        order = np.argsort(colours)
        place = np.minimum(np.searchsorted(colours, found, sorter=order), len(order) - 1)
        mask, number = unlabelled((height, width), len(colours)), order[place]
        known = colours[number] == found
        mask[known] = number[known]
        return mask
