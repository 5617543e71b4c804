"""cvat: a zip file of CVAT's format "Segmentation mask 1.1", for "Upload annotations" of a task or project."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO, RawIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.labels import NOISE_8
from datus2_ray.core.images.regions import regions, void_of
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written, check_colours, colours_of

#: What CVAT calls pixels without a class, and their colour.
BACKGROUND, BLACK = "background", "#000000"

#: Objects that the colours of this format tell apart in an image.
MAX_OBJECTS = 255


@dataclass(frozen=True)
class Cvat(Format):
    """``annotations.zip``: masks in the colours of ``labelmap.txt``; with instances, also a colour for every object."""

    def check(self) -> None:
        """Raise a UsageError if a name or colour cannot stand in ``labelmap.txt``, or there are too many classes."""
        if len(self.classes) >= NOISE_8:
            raise UsageError(
                f"cvat reads at most {NOISE_8 - 1} classes, and there are {len(self.classes)}: name fewer, or let some "
                "be ignored"
            )
        for named in self.classes:
            if ":" in named.name or named.name.startswith("#") or named.name == BACKGROUND:
                raise UsageError(
                    f"cvat cannot have a class {named.name!r}: give it a name that has no colon, does not begin with # "
                    f"and is not {BACKGROUND}, or let it be ignored"
                )
        check_colours(self.classes, BLACK)

    def encode(self, image: LabelledImage) -> Written:
        """Return no file; the record is the mask as PNG, and that of the objects."""
        colours = np.zeros((void_of(image.mask) + 1, 3), np.uint8)
        colours[: len(self.classes)] = colours_of(self.classes)
        record = [_png(colours[image.mask])]
        if self.instances:
            record.append(_png(voc_colours()[self._objects(image)]))
        return Written({}, tuple(record))

    def _objects(self, image: LabelledImage) -> NDArray[np.uint8]:
        """Return the number of every pixel's object, 0 = none."""
        objects = np.zeros(image.mask.shape, np.uint8)
        for number, region in enumerate(regions(image.mask, connected=True), 1):
            if number > MAX_OBJECTS:
                raise ImageError(
                    "many_objects", f"more than {MAX_OBJECTS} objects, for which cvat has no colours; give a min area"
                )
            region.paint(objects, number)
        return objects

    def merge(self, records: Records) -> Merged:
        """Return the zip file."""
        yield "annotations.zip", partial(self._zip, records)

    def _zip(self, records: Records) -> Iterator[bytes]:
        sink = _Pieces()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:

            def add(name: str, data: bytes) -> bytes:
                # With a fixed time, so that the same masks make the same file.
                file.writestr(zipfile.ZipInfo(name), data)
                return sink.take()

            rows = [f"{BACKGROUND}:0,0,0::"]
            colours = colours_of(self.classes).tolist()
            rows += [f"{c.name}:{','.join(map(str, rgb))}::" for c, rgb in zip(self.classes, colours, strict=True)]
            yield add("labelmap.txt", "\n".join([*rows, ""]).encode())
            for split in self.splits:
                ids: list[str] = []
                for image_id, masks in records(split):
                    ids.append(image_id)
                    for folder, mask in zip(("SegmentationClass", "SegmentationObject"), masks, strict=False):
                        yield add(f"{folder}/{image_id}.png", mask)
                yield add(f"ImageSets/Segmentation/{split}.txt", "\n".join([*ids, ""]).encode())
        yield sink.take()


class _Pieces(RawIOBase):
    """A stream into which a zip file is written, and from which its bytes are taken in pieces."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data


def voc_colours() -> NDArray[np.uint8]:
    """Return the colours of objects by their number, as Pascal VOC has them: RGB, uint8 [256, 3]."""
    numbers, colours = np.arange(256), np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _png(colours: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(colours).save(file, format="PNG")
    return file.getvalue()
