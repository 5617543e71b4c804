"""What a format is: how an image becomes files and a record, and how the records of a set become one file.

Files are written by the tasks that read the masks, in any order. Records are kept in the table of the export and
merged when all of them are there, one part at a time.
"""

from __future__ import annotations

import hashlib
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels, encode_labels, encode_palette_png
from datus2_ray.core.images.sniff import HEAD, what_is
from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import ImageError, UsageError

#: Suffix of an image's file by what it is, where no file of the source is known.
SUFFIXES = {
    "JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif", "WebP": ".webp", "JPEG 2000": ".jp2",
    "JPEG XL": ".jxl", "AVIF": ".avif", "HEIC": ".heic", "PPM": ".ppm",
}  # fmt: skip


@dataclass(frozen=True)
class LabelledImage:
    """An image with the class of every pixel.

    Parameters
    ----------
    split : str
        Part of the export that it belongs to, such as ``train``.
    file : str
        Path of the image below its source, or for a piece of a file its id and a suffix; the suffix says what it is.
    mask : uint8 or uint16 [H, W]
        Class ids; the largest value of the type stands for no class.
    image : bytes or None
        The encoded image; None for formats that do without it.
    """

    image_id: str
    split: str
    file: str
    mask: Labels
    image: bytes | None = None

    @property
    def height(self) -> int:
        """Rows of the image, in pixels."""
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image, in pixels."""
        return int(self.mask.shape[1])

    @property
    def suffix(self) -> str:
        """Suffix of the image's file, with its dot."""
        return posixpath.splitext(self.file)[1]


@dataclass(frozen=True)
class Written:
    """What an image becomes: files by their paths below the export, and its part of the files of the whole set."""

    files: Mapping[str, bytes]
    record: tuple[bytes, ...] = ()


#: The records of a split, one image after another, with their ids.
Records = Callable[[str], Iterator[tuple[str, tuple[bytes, ...]]]]

#: The path of each file of the whole set, and a function that yields its bytes, from the first on at every call.
Merged = Iterator[tuple[str, Callable[[], Iterator[bytes]]]]


@dataclass(frozen=True)
class Format(ABC):
    """A format of labelled images.

    Parameters
    ----------
    classes : tuple of NamedClass
        The id of a class in masks is its position.
    splits : tuple of str
    instances : bool
        Whether every connected region is an object of its own, where the format has objects.
    image_url : str
        What stands before the path of an image, where the format says where images lie.
    """

    classes: tuple[NamedClass, ...]
    splits: tuple[str, ...]
    instances: bool = False
    image_url: str = ""

    #: Whether it takes the encoded images.
    takes_images: ClassVar[bool] = False

    def check(self) -> None:  # noqa: B027
        """Raise a UsageError if the classes cannot be written in this format."""

    @abstractmethod
    def encode(self, image: LabelledImage) -> Written:
        """Return what an image becomes; raise an ImageError if it cannot be written in this format."""

    def encode_part(self, part: str, images: Iterable[LabelledImage]) -> Iterator[Written | ImageError]:
        """Yield what each image of a part becomes, or why it cannot be written; `part` is the stem of a file's name."""
        for image in images:
            try:
                yield self.encode(image)
            except ImageError as fault:
                yield fault

    @abstractmethod
    def merge(self, records: Records) -> Merged:
        """Return the files of the whole set."""


def split_of(image_id: str, shares: Mapping[str, float]) -> str:
    """Return the split of an image, which depends on its id only: an image keeps it when others are added."""
    hashed = int.from_bytes(hashlib.blake2b(f"split {image_id}".encode(), digest_size=8).digest(), "big") / 2**64
    total = sum(shares.values())
    for name, up_to in zip(shares, accumulate(shares.values()), strict=True):
        if hashed < up_to / total:
            return name
    return list(shares)[-1]


def colours_of(classes: Iterable[NamedClass]) -> NDArray[np.uint8]:
    """Return the colours of classes, RGB, uint8 [n, 3]."""
    return np.array([list(bytes.fromhex(named.colour[1:])) for named in classes], np.uint8).reshape(-1, 3)


def encode_mask(mask: Labels, classes: Iterable[NamedClass]) -> bytes:
    """Return a mask as PNG: of 8 bits with the colours of the classes, or grey of 16 bits."""
    if mask.dtype == np.uint8:
        return encode_palette_png(np.asarray(mask, np.uint8), colours_of(classes))
    return encode_labels(mask)


def check_colours(classes: Iterable[NamedClass], background: str | None) -> None:
    """Raise a UsageError if two classes have the same colour, or one that of what has no class."""
    seen = {background: "the background"}
    for named in classes:
        if (other := seen.setdefault(named.colour, named.name)) != named.name:
            raise UsageError(f"class {named.name} and {other} have the same colour {named.colour}; change one of them")


def sniff_suffix(image: bytes) -> str:
    """Return the suffix for the file of an encoded image."""
    return SUFFIXES.get(str(what_is(image[:HEAD])), "")
