"""Image files without what is not their pixels: what a decoder trips over is often the text, not the picture."""

from __future__ import annotations

import re
import struct
import zlib
from itertools import islice

from datus2_ray.core.images import tiff

_PNG = b"\x89PNG\r\n\x1a\n"

#: Places and segments that are tried in a damaged JPEG: a file may be made so that there are very many.
_TRIES = 1000

#: Markers from which the pixels of a JPEG are decoded: tables, frames, restart interval, and Adobe's colour transform.
_JPEG_TABLES = re.compile(rb"\xff[\xdb\xc4\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xcc\xdd]")


def without_metadata(data: bytes) -> bytes | None:
    """Return a JPEG, PNG, WebP or TIFF file with its pixels, palette and transparency alone; None if that fails.

    Wrong lengths of what is left out do not matter, nor do wrong lengths of the whole.
    """
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == _PNG:
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if pages := tiff.pages_of(data, most=1):
            return tiff.extract(data, pages[0])
    except (ValueError, struct.error, IndexError):
        pass
    return None


def orientation_of(data: bytes) -> int:
    """Return the orientation in the first EXIF block of a file, 1 if there is none; the rest of EXIF may be damaged."""
    at = data.find(b"Exif\0\0", 0, 2**20) + 6
    if data[:8] == _PNG:
        at = data.find(b"eXIf") + 4
    if at < 6 or data[at : at + 4] not in (b"II*\0", b"MM\0*"):
        return 1
    order = "<" if data[at : at + 1] == b"I" else ">"
    try:
        start = at + struct.unpack_from(f"{order}L", data, at + 4)[0]
        for entry in range(min(struct.unpack_from(f"{order}H", data, start)[0], 512)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHLH", data, start + 2 + 12 * entry)
            if tag == 0x112 and kind == 3:
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _jpeg(data: bytes) -> bytes:
    """Find the tables and the frame that a scan follows; of several, as in a file with a preview, the largest."""
    adobe = re.search(rb"\xff\xee\x00\x0eAdobe.{7}", data[: 2**20], re.DOTALL)
    best, largest, searched = None, 0, 0
    for match in islice(_JPEG_TABLES.finditer(data), _TRIES):
        if match.start() < searched:
            continue
        found = _jpeg_frame(data, match.start())
        if found is not None:
            area, searched = found
            if area > largest:
                best, largest = match.start(), area
    if best is None:
        raise ValueError("no frame")
    return b"\xff\xd8" + (adobe[0] if adobe else b"") + data[best:]


def _jpeg_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Follow the segments from an offset to a scan; return the area of its frame and where the scan begins."""
    area = 0
    for _ in range(_TRIES):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            area = height * width
        if marker == 0xDA:
            return (area, at) if area else None
        if length < 2 or not (0xC0 <= marker <= 0xCF or 0xDB <= marker <= 0xFE):
            return None
        at += 2 + length
    return None


def _png(data: bytes) -> bytes:
    """Keep the critical chunks and transparency, with new checksums."""
    kept, at = [_PNG], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        kind = data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            if kind == b"IDAT":  # cut off: what is left decides
                kept.append(data[at:])
            break
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"):
            kept.append(data[at : at + 8 + length] + struct.pack(">L", zlib.crc32(kind + body)))
        at += 12 + length
    return b"".join(kept)


def _webp(data: bytes) -> bytes:
    """Keep the chunks of pixels, alpha and animation, with the length of the whole set right."""
    kept, at = [], 12
    while at + 8 <= len(data):
        kind = data[at : at + 4]
        (length,) = struct.unpack_from("<L", data, at + 4)
        chunk = data[at : at + 8 + length + length % 2]
        if kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            if len(chunk) < 8 + length:
                raise ValueError("cut off")
            kept.append(chunk)
        elif kind == b"VP8X" and len(chunk) >= 18:
            kept.append(chunk[:8] + bytes([chunk[8] & 0b00010010]) + chunk[9:])  # alpha and animation alone
        at += 8 + length + length % 2
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<L", len(body)) + body
