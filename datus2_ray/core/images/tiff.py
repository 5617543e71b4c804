"""The directories of a TIFF file: how many pictures it holds, what they are made of, and each as a file of its own.

Only the structure is read here; pixels are decoded by Pillow or tifffile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

#: Reads so many bytes at an offset; fewer at the end of the file.
ReadAt = Callable[[int, int], bytes]

#: Directories that are followed: a loop of them, or a damaged file, has no end.
MAX_PAGES = 100_000

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}

#: Tags that say how the pixels of a page are stored, and its orientation, profile, and GDAL's value of no data.
_STRUCTURE = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339, 347}
    | {529, 530, 531, 532, 34675, 42113}
)
_STRIPS, _TILES, _NO_DATA = (273, 279), (324, 325), 42113


@dataclass(frozen=True)
class Page:
    """A directory: the type, number and bytes of the value of every tag, in the byte order `order` of its file."""

    tags: dict[int, tuple[int, int, bytes]]
    order: str

    def integers(self, tag: int) -> tuple[int, ...]:
        """Return the integers of a tag; none if it is missing or holds something else."""
        kind, _, value = self.tags.get(tag, (0, 0, b""))
        letter = _INTEGERS.get(kind)
        return struct.unpack(f"{self.order}{len(value) // _SIZES[kind]}{letter}", value) if letter else ()

    def integer(self, tag: int, default: int) -> int:
        """Return the first integer of a tag."""
        return next(iter(self.integers(tag)), default)

    @property
    def no_data(self) -> float | None:
        """Value that stands for no data, as GDAL notes it; None if there is none."""
        try:
            return float(self.tags[_NO_DATA][2].rstrip(b"\0 "))
        except (KeyError, ValueError):
            return None


def is_tiff(data: bytes) -> bool:
    """Return whether the first bytes are those of a TIFF or BigTIFF file."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_pages(read: ReadAt, most: int = MAX_PAGES) -> list[Page]:
    """Read the directories of the pictures in a file, in their order; only those of the first `most` directories.

    Overviews and masks of a page, as they are in cloud-optimised GeoTIFF, are left out. A damaged chain of directories
    ends where it is damaged; the list is empty if there is no directory at all.
    """
    head = read(0, 16)
    order, big = "<" if head[:1] == b"I" else ">", head[2:4] in (b"+\0", b"\0+")
    pages: list[Page] = []
    seen: set[int] = set()
    try:
        at = struct.unpack(f"{order}{'Q' if big else 'L'}", head[8:16] if big else head[4:8])[0]
        while at and at not in seen and len(seen) < most:
            seen.add(at)
            page, at = _read_page(read, at, order, big)
            pages.append(page)
    except struct.error:
        pass
    # Bit 0 of NewSubfileType: a page at lower resolution; bit 2: a mask. SubfileType 2 is the older word.
    pictures = [page for page in pages if not page.integer(254, 0) & 5 and page.integer(255, 1) != 2]
    return pictures or pages[:1]


def pages_of(data: bytes, most: int = MAX_PAGES) -> list[Page]:
    """Read the directories of the pictures in a file's bytes; see :func:`read_pages`. None if it is no TIFF."""
    return read_pages(lambda at, size: data[at : at + size], most) if is_tiff(data) else []


def size(read: ReadAt) -> tuple[int, int]:
    """Return height and width of the first picture in a file in pixels; 0 where it does not say so, or is no TIFF."""
    page = next(iter(read_pages(read, most=1)), None) if is_tiff(read(0, 4)) else None
    return (page.integer(257, 0), page.integer(256, 0)) if page else (0, 0)


def extract(data: bytes, page: Page) -> bytes:
    """Return a file that holds one page of a file alone, its pixels byte for byte, without other metadata.

    Raises
    ------
    ValueError
        If the pixels are not where the file says.
    """
    offsets, sizes = next((pair for pair in (_STRIPS, _TILES) if pair[0] in page.tags), _STRIPS)
    starts, lengths = page.integers(offsets), page.integers(sizes)
    if not starts or len(starts) != len(lengths) or sum(lengths) > len(data):
        raise ValueError("the strips of the page are not where the file says")
    pixels = [data[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    tags = {tag: value for tag, value in page.tags.items() if tag in _STRUCTURE}
    places, at = [], 8
    for strip in pixels:
        places.append(at)
        at += len(strip)
    for tag, numbers in ((offsets, places), (sizes, [len(strip) for strip in pixels])):
        tags[tag] = (4, len(numbers), struct.pack(f"{page.order}{len(numbers)}L", *numbers))
    return _write(tags, pixels, page.order)


def _read_page(read: ReadAt, at: int, order: str, big: bool) -> tuple[Page, int]:
    """Read the directory at an offset, and the offset of the next one."""
    first, each, word = (8, 20, "Q") if big else (2, 12, "L")
    # Most directories are shorter: one read each.
    block = read(at, first + 32 * each + 8)
    count = struct.unpack_from(f"{order}{'Q' if big else 'H'}", block)[0]
    if count > 4096:
        raise struct.error("more tags than a directory has")
    whole = first + count * each + struct.calcsize(word)
    block = block if len(block) >= whole else read(at, whole)
    tags = {}
    for entry in range(count):
        tag, kind, number, value = struct.unpack_from(f"{order}HH{word}{each // 2 - 2}s", block, first + entry * each)
        size = _SIZES.get(kind, 0) * number
        if tag not in _STRUCTURE | {254, 255}:
            continue
        if size > len(value):
            value = read(struct.unpack(f"{order}{word}", value)[0], size) if size < 2**28 else b""
        if size and len(value) >= size:  # else the value lies beyond the end of the file
            tags[tag] = (kind, number, value[:size])
    (after,) = struct.unpack_from(f"{order}{word}", block, first + count * each)
    return Page(tags, order), after


def _write(tags: dict[int, tuple[int, int, bytes]], pixels: list[bytes], order: str) -> bytes:
    """Write a TIFF file of one directory after its pixels."""
    body = b"".join(pixels)
    body += b"\0" * (len(body) % 2)
    directory = 8 + len(body)
    beyond = directory + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (kind, number, value) in sorted(tags.items()):
        inline = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(f"{order}L", beyond + len(values))
        values += b"" if len(value) <= 4 else value + b"\0" * (len(value) % 2)
        entries += struct.pack(f"{order}HHL", tag, kind, number) + inline
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", directory)
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + values
