"""Metadata never cost a picture whose pixels decode, and colour profiles are applied."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from datus2_ray.core.images.decode import decode, inspect
from tests.core.images.files import after_start, encoded, picture, png_chunk, segment

JPEG = encoded(picture(), "JPEG", quality=95)
DAMAGED = "damaged metadata left out"


def exif(orientation: int, resolution: tuple[int, int] = (-1, 0)) -> bytes:
    """Return EXIF with an orientation, and a horizontal resolution that is a signed fraction."""
    entries = struct.pack("<HHHIHHHHIII", 2, 0x112, 3, 1, orientation, 0, 0x11A, 10, 1, 38, 0)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries + struct.pack("<ii", *resolution)


def test_a_rotated_photo_with_an_odd_resolution_is_upright() -> None:
    turned = decode(after_start(JPEG, segment(0xE1, exif(6))))
    np.testing.assert_array_equal(turned, np.rot90(decode(JPEG), -1))


@pytest.mark.parametrize("wrong", [-40, -3, -1, 1, 3, 17, 200, 20_000])
@pytest.mark.parametrize("marker", [0xE1, 0xED, 0xFE])
def test_a_wrong_length_of_a_segment(wrong: int, marker: int) -> None:
    body = exif(1) + bytes(range(64))
    damaged = after_start(JPEG, segment(marker, body, len(body) + 2 + wrong))
    np.testing.assert_array_equal(decode(damaged), decode(JPEG))


def test_a_preview_in_damaged_metadata_is_not_taken_for_the_picture() -> None:
    preview = encoded(picture()[:16, :16] // 2, "JPEG")
    damaged = after_start(JPEG, segment(0xE1, exif(1) + preview, 30) + b"\0\0junk")
    np.testing.assert_array_equal(decode(damaged), decode(JPEG))
    np.testing.assert_array_equal(decode(damaged + preview), decode(JPEG))


def test_the_orientation_is_kept_when_metadata_are_left_out() -> None:
    damaged = after_start(JPEG, segment(0xE1, exif(6)) + segment(0xE2, b"x" * 50, 92))
    found = inspect(damaged)
    assert found.notes == [DAMAGED]
    np.testing.assert_array_equal(found.values, np.rot90(decode(JPEG), -1))


def test_cmyk_keeps_its_inversion_when_metadata_are_left_out() -> None:
    cmyk = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    damaged = after_start(cmyk, segment(0xE2, b"x" * 50, 92))
    np.testing.assert_array_equal(decode(damaged), decode(cmyk))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_text_of_megabytes_in_png(kind: bytes, place: str) -> None:
    text = zlib.compress(b"a" * 5_000_000)
    chunk = png_chunk(kind, b"k\0\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"") + text)
    png = encoded(picture())
    at = 33 if place == "before" else len(png) - 12
    np.testing.assert_array_equal(decode(png[:at] + chunk + png[at:]), picture())


def test_many_texts_and_a_profile_of_megabytes_in_png() -> None:
    info = PngInfo()
    for number in range(80):
        info.add_text(f"k{number}", "a" * 1_000_000, zip=True)
    np.testing.assert_array_equal(decode(encoded(picture(), pnginfo=info)), picture())
    profile = b"p\0\0" + zlib.compress(b"\0" * 4_000_000)
    png = encoded(picture())
    np.testing.assert_array_equal(decode(png[:33] + png_chunk(b"iCCP", profile) + png[33:]), picture())


def test_a_wrong_checksum_of_a_text_in_png() -> None:
    chunk = png_chunk(b"tEXt", b"a\0b")
    png = encoded(picture())
    np.testing.assert_array_equal(decode(png[:33] + chunk[:-1] + b"\0" + png[33:]), picture())


@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_trailing_bytes(codec: str) -> None:
    data = encoded(picture(), codec)
    np.testing.assert_array_equal(decode(data + b"\0" * 1000 + b"trailer" * 99), decode(data))


@pytest.mark.parametrize("wrong", [-8, 2, 1000])
def test_a_wrong_length_of_webp(wrong: int) -> None:
    data = encoded(picture(), "WEBP", lossless=True)
    length = struct.pack("<L", len(data) - 8 + wrong)
    np.testing.assert_array_equal(decode(data[:4] + length + data[8:]), picture())


def test_damaged_metadata_of_webp_and_tiff() -> None:
    webp = encoded(picture(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\xff\xff\xff\xff", xmp=b"<x" * 99)
    np.testing.assert_array_equal(decode(webp), picture())
    tiff = bytearray(encoded(picture(), "TIFF", compression="tiff_lzw", description="x" * 40, software="y" * 40))
    (first,) = struct.unpack_from("<L", tiff, 4)
    for entry in range(struct.unpack_from("<H", tiff, first)[0]):
        at = first + 2 + 12 * entry
        if struct.unpack_from("<H", tiff, at)[0] in (270, 305):  # a description that lies beyond the end
            struct.pack_into("<HLL", tiff, at + 2, 5, 1_000_000, 4_000_000_000)
    np.testing.assert_array_equal(decode(bytes(tiff)), picture())


def test_a_number_in_tiff_that_lies_beyond_the_end() -> None:
    tiff = bytearray(encoded(picture()[:, :, 0], "TIFF", description="x" * 40))
    (first,) = struct.unpack_from("<L", tiff, 4)
    entries = [first + 2 + 12 * entry for entry in range(struct.unpack_from("<H", tiff, first)[0])]
    (text,) = (at for at in entries if struct.unpack_from("<H", tiff, at)[0] == 270)
    struct.pack_into("<HHLL", tiff, text, 277, 3, 1_000_000, len(tiff) - 3)  # samples per pixel, of which one is usual
    np.testing.assert_array_equal(decode(bytes(tiff))[:, :, 0], picture()[:, :, 0])


@pytest.fixture(scope="module")
def swapped() -> bytes:
    """Return an ICC profile whose red is sRGB's green: what has it shows other colours than it stores."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag in range(struct.unpack_from(">L", profile, 128)[0]):
        at = 132 + 12 * tag
        name = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(bytes(profile[at : at + 4]))
        profile[at : at + 4] = name or profile[at : at + 4]
    return bytes(profile).replace("sRGB built-in".encode("utf-16-be"), "swap built-in".encode("utf-16-be"))


@pytest.mark.parametrize("codec", ["PNG", "TIFF", "WEBP"])
def test_colours_of_another_profile_are_converted(codec: str, swapped: bytes) -> None:
    found = inspect(encoded(picture(), codec, icc_profile=swapped, **({"lossless": True} if codec == "WEBP" else {})))
    assert found.notes == ["colours converted to sRGB by the profile of the file"]
    assert np.abs(found.values.astype(int) - picture()[:, :, [1, 0, 2]]).max() <= 2


def test_transparency_is_kept_when_colours_are_converted(swapped: bytes) -> None:
    rgba = np.dstack([picture(), np.full((40, 56), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    pixels = decode(encoded(rgba, icc_profile=swapped))
    assert (pixels[:10] == 255).all()
    assert np.abs(pixels[10:].astype(int) - picture()[10:, :, [1, 0, 2]]).max() <= 2


def test_srgb_changes_nothing_and_a_profile_that_does_not_fit_is_said(swapped: bytes) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = inspect(encoded(picture(), icc_profile=srgb))
    assert found.notes == []
    np.testing.assert_array_equal(found.values, picture())
    for profile in (b"no profile at all" * 20, swapped[:200], ImageCms.createProfile("LAB")):
        data = profile if isinstance(profile, bytes) else ImageCms.ImageCmsProfile(profile).tobytes()
        found = inspect(encoded(picture(), icc_profile=data))
        assert found.notes == ["colour profile that cannot be used"]
        np.testing.assert_array_equal(found.values, picture())
    grey = inspect(encoded(picture()[:, :, 0], icc_profile=swapped))
    assert grey.notes == ["colour profile that cannot be used"]
