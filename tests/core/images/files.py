"""Image files that tests make, among them those that Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image: Image.Image | np.ndarray, codec: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format=codec, **options)
    return file.getvalue()


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    """A smooth gradient with an edge: it survives JPEG, and no mirror or turn of it looks the same."""
    y, x = np.mgrid[:height, :width]
    channels = [x * 255 // (width - 1), y * 255 // (height - 1), np.where(x + 2 * y < width, 200, 40)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(values: np.ndarray) -> bytes:
    """Encode uint16 [H, W, C] as PNG of 16 bits: grey with alpha, RGB or RGBA."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    """Return a segment of a JPEG, with another length than its own if one is given."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2 if length is None else length) + body


def after_start(jpeg: bytes, inserted: bytes) -> bytes:
    """Insert bytes after the start of a JPEG."""
    return jpeg[:2] + inserted + jpeg[2:]
