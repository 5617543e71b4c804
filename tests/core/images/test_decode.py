from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.opening import open_image, reading
from datus2_ray.core.images.resize import MAX_ASPECT, fit, resize
from datus2_ray.errors import ImageError
from tests.core.images.files import encoded, picture, png_chunk

pytestmark = pytest.mark.filterwarnings("error")

KINDS = {"empty", "unreadable", "too_small", "too_large"}


def header_only_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )


def kind_of(data: bytes, function: Callable[[bytes], object] = decode) -> str:
    with pytest.raises(ImageError) as caught:
        function(data)
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)
    return caught.value.kind


@pytest.mark.parametrize("codec", ["PNG", "BMP", "TIFF"])
def test_lossless_rgb_comes_back(codec: str) -> None:
    pixels = decode(encoded(Image.fromarray(picture()), codec))
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, picture())


@pytest.mark.parametrize("codec", ["JPEG", "WEBP"])
def test_lossy_rgb_comes_close(codec: str) -> None:
    pixels = decode(encoded(Image.fromarray(picture()), codec, quality=95))
    assert np.abs(pixels.astype(int) - picture()).mean() < 4


@pytest.mark.parametrize("codec", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_has_three_equal_channels(codec: str) -> None:
    grey = Image.fromarray(picture()).convert("L")
    pixels = decode(encoded(grey, codec))
    assert (pixels == pixels[:, :, :1]).all()
    assert np.abs(pixels[:, :, 0].astype(int) - np.asarray(grey)).mean() < 2


def test_transparent_pixels_are_laid_over_white() -> None:
    rgba = np.dstack([picture(), np.full((40, 56), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 51
    pixels = decode(encoded(Image.fromarray(rgba)))
    assert (pixels[:10] == 255).all()
    np.testing.assert_array_equal(pixels[20:], picture()[20:])
    blended = np.rint(255 * 0.8 + picture()[10:20] * 0.2)
    assert np.abs(pixels[10:20] - blended).max() <= 1


def test_grey_with_alpha_and_palette_with_transparency() -> None:
    grey = Image.merge("LA", [Image.new("L", (16, 16), 30), Image.new("L", (16, 16), 0)])
    assert (decode(encoded(grey)) == 255).all()
    indices = Image.fromarray(np.eye(16, dtype=np.uint8))
    indices.putpalette([10, 20, 30, 200, 100, 50])
    pixels = decode(encoded(indices, transparency=0))
    assert pixels[0, 0].tolist() == [200, 100, 50]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    several = decode(encoded(indices, transparency=b"\xff\x00"))
    assert several[0, 0].tolist() == [255, 255, 255]
    assert several[0, 1].tolist() == [10, 20, 30]


def test_palette_shows_its_colours() -> None:
    indices = Image.fromarray(np.eye(16, dtype=np.uint8))
    indices.putpalette([10, 20, 30, 200, 100, 50])
    pixels = decode(encoded(indices))
    assert pixels[0, 0].tolist() == [200, 100, 50]
    assert pixels[0, 1].tolist() == [10, 20, 30]


def test_cmyk_jpeg_looks_as_pillow_says() -> None:
    # Pillow writes CMYK JPEG inverted with an Adobe marker, as Photoshop does.
    data = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(decode(data).astype(int) - picture()).mean() < 4


@pytest.mark.parametrize("codec", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(codec: str) -> None:
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    pixels = decode(encoded(Image.fromarray(values), codec))
    np.testing.assert_array_equal(pixels[:, :, 1], np.rint(values / 257).astype(np.uint8))


def test_big_endian_sixteen_bit_tiff() -> None:
    values = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    image = Image.frombytes("I;16B", (32, 32), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(encoded(image, "TIFF"))[:, :, 0], np.rint(values / 257).astype(np.uint8))


def test_float_tiff_in_the_unit_interval_keeps_its_range_and_others_are_stretched() -> None:
    unit = np.linspace(0.25, 0.5, 32 * 32, dtype=np.float32).reshape(32, 32)
    assert decode(encoded(Image.fromarray(unit), "TIFF")).min() == 64
    assert decode(encoded(Image.fromarray(unit), "TIFF")).max() == 128
    metres = unit * 1000 - 300
    metres[0, 0] = np.nan
    metres[0, 1] = np.inf
    stretched = decode(encoded(Image.fromarray(metres), "TIFF"))
    assert stretched[0, :2].max() == 0
    assert stretched[0, 2, 0] == 0
    assert stretched[-1, -1, 0] == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied(orientation: int, codec: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(picture()), codec, exif=exif, **({"quality": 95} if codec != "PNG" else {}))
    pixels = decode(data)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    np.testing.assert_array_equal(pixels, turned)
    assert (pixels.shape[0] > pixels.shape[1]) == (orientation >= 5)


def test_damaged_metadata_do_not_spoil_an_image() -> None:
    data = encoded(Image.fromarray(picture()), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + b"\x07" * 60)
    assert decode(data).shape == (40, 56, 3)


@pytest.mark.parametrize("codec", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(codec: str) -> None:
    first, second = Image.new("RGB", (20, 12), (250, 0, 0)), Image.new("RGB", (20, 12), (0, 0, 250))
    pixels = decode(encoded(first, codec, save_all=True, append_images=[second], duration=50))
    assert pixels.shape == (12, 20, 3)
    assert pixels[..., 0].min() > 240
    assert pixels[..., 2].max() < 10


def test_empty_and_foreign_bytes() -> None:
    assert kind_of(b"") == "empty"
    assert kind_of(b"this is a text file that somebody named photo.jpg\n" * 10) == "unreadable"
    assert kind_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n") == "unreadable"
    assert kind_of(b"<html>not found</html>") == "unreadable"


@pytest.mark.parametrize("codec", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_truncated_is_unreadable(codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), codec)
    assert kind_of(data[: len(data) // 2]) == "unreadable"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 100), (100, 7)])
def test_too_small(width: int, height: int) -> None:
    assert kind_of(encoded(Image.new("RGB", (width, height)))) == "too_small"


def test_eight_pixels_are_enough() -> None:
    assert decode(encoded(Image.new("RGB", (8, 8)))).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (12_000, 10_000), (11_001, 10_000), (2**31 - 1, 2**31 - 1)]
)
def test_too_large_is_refused_from_the_header(width: int, height: int) -> None:
    # These files hold no pixels at all: who tried to decode them would say "unreadable".
    assert kind_of(header_only_png(width, height)) == "too_large"


def test_up_to_110_megapixels_pass_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    # Pillow itself warns from 89 megapixels on.
    with reading():
        assert open_image(header_only_png(11_000, 10_000)).size == (11_000, 10_000)
    assert not recwarn.list


def test_errors_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for codec in ("JPEG", "PNG", "WEBP", "GIF"):
        data = encoded(Image.fromarray(picture()), codec)
        kind_of(data[: len(data) // 2])
        kind_of(data[:20] + b"\xaa" * 40)
    assert capfd.readouterr() == ("", "")


SOURCES = [
    encoded(Image.fromarray(picture()), "JPEG"),
    encoded(Image.fromarray(picture()), "PNG"),
    encoded(Image.fromarray(picture()).convert("P"), "GIF"),
    encoded(Image.fromarray(picture()), "TIFF", compression="tiff_lzw"),
    encoded(Image.fromarray(picture()), "WEBP"),
    encoded(Image.fromarray(picture()), "BMP"),
]


def either_pixels_or_a_named_fault(data: bytes) -> None:
    try:
        pixels = decode(data)
    except ImageError as error:
        kind = error.kind
    else:
        kind = None
    if kind is not None:
        assert kind in KINDS
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", *(source[:24] for source in SOURCES)]))
def test_any_bytes_give_pixels_or_a_named_fault(data: bytes, start: bytes) -> None:
    either_pixels_or_a_named_fault(start + data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SOURCES), st.data())
def test_damaged_files_give_pixels_or_a_named_fault(source: bytes, draw: st.DataObject) -> None:
    data = bytearray(source)
    for _ in range(draw.draw(st.integers(1, 8))):
        # Headers break in more ways than pixels do.
        last = draw.draw(st.sampled_from([60, len(data) - 1]))
        data[draw.draw(st.integers(0, min(last, len(data) - 1)))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.one_of(st.none(), st.integers(0, len(data))))
    either_pixels_or_a_named_fault(bytes(data[:cut]))


@pytest.mark.parametrize("size", [(17, 90), (40, 56), (200, 11)])
def test_resize_is_pillows_bicubic(size: tuple[int, int]) -> None:
    resized = resize(picture(), *size)
    expected = Image.fromarray(picture()).resize(size[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized, np.asarray(expected))
    assert resized.flags.writeable


def test_real_photographs(real_data: Path) -> None:
    folders = ["camvid/val/images", "suim_sample/images", "suim_sample/raw_faults/images", "unlabelled/bsds500"]
    for folder in folders:
        for path in sorted((real_data / folder).glob("*.jpg"))[:5]:
            data = path.read_bytes()
            with Image.open(path) as image:
                np.testing.assert_array_equal(decode(data), np.asarray(image.convert("RGB")))
            assert kind_of(data[: len(data) * 2 // 3]) == "unreadable"


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(447, 900, (447, 900)), (448, 600, (224, 300)), (897, 1793, (225, 449)), (3000, 4000, (375, 500))],
)
def test_a_jpeg_may_be_decoded_at_a_fraction_of_its_size(height: int, width: int, expected: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(picture(height, width)), "JPEG", quality=95)
    reduced = decode(data, 224)
    assert reduced.shape == (*expected, 3)
    whole = resize(decode(data), 224, 224).astype(int)
    assert np.abs(resize(reduced, 224, 224) - whole).mean() < 3


def test_a_reduced_jpeg_is_upright_and_its_damage_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(picture(500, 1000)), "JPEG", exif=exif)
    assert decode(data, 200).shape == (500, 250, 3)
    assert kind_of(data[: len(data) // 2], lambda part: decode(part, 200)) == "unreadable"


@pytest.mark.parametrize("codec", ["PNG", "WEBP", "TIFF"])
def test_only_jpegs_are_reduced(codec: str) -> None:
    data = encoded(Image.fromarray(picture(600, 600)), codec)
    np.testing.assert_array_equal(decode(data, 64), decode(data))


@given(st.integers(8, 4000), st.integers(8, 4000), st.integers(2, 40), st.sampled_from([8, 14, 16]))
def test_the_aspect_is_kept_as_well_as_whole_patches_can(height: int, width: int, patches: int, patch: int) -> None:
    size = fit(height, width, patches * patch, patch)
    assert min(size) == patches * patch
    assert all(side % patch == 0 for side in size)
    assert fit(width, height, patches * patch, patch) == size[::-1]
    wanted = min(max(height, width) / min(height, width), MAX_ASPECT) * patches * patch
    assert abs(max(size) - wanted) <= patch / 2 + 1e-6
