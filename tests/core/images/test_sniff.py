from __future__ import annotations

import numpy as np
import pytest

from datus2_ray.core.images.sniff import HEAD, IMAGE_SUFFIXES, OTHER_SUFFIXES, what_is
from tests.core.images.files import encoded, picture


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF"), ("WEBP", "WebP"),
        ("AVIF", "AVIF"), ("JPEG2000", "JPEG 2000"), ("PPM", "PPM"),
    ],
)  # fmt: skip
def test_what_pillow_writes_is_recognised_by_its_first_bytes(codec: str, name: str) -> None:
    assert what_is(encoded(picture(), codec)[:HEAD]) == name


@pytest.mark.parametrize(
    "head",
    [
        b"", b"P", b"BM and more of a text that goes on", b"P5 is a processor", b"%PDF-1.7", b"PK\x03\x04", b"\0" * 32,
        b"\x93NUMPY\x01\0", b"PAR1", b"RIFF\0\0\0\0WAVEfmt ", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41",
    ],
)  # fmt: skip
def test_other_files_are_not(head: bytes) -> None:
    assert what_is(head) is None


def test_heic_is_recognised_by_its_brands() -> None:
    assert what_is(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == "HEIC"
    assert what_is(b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1miaf") == "AVIF"


def test_no_suffix_is_in_both_lists_and_arrays_are_no_images() -> None:
    assert IMAGE_SUFFIXES.isdisjoint(OTHER_SUFFIXES)
    assert {".npy", ".json", ".dng"} <= OTHER_SUFFIXES
    assert what_is(np.zeros(40, np.uint8).tobytes()) is None
