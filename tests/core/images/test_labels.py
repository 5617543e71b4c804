from __future__ import annotations

import io
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datus2_ray.core.images.labels import (
    NOISE_8,
    NOISE_16,
    decode_labels,
    encode_labels,
    encode_palette_png,
    paint,
    patch_labels,
    upsample_nearest,
)
from datus2_ray.core.images.palette import palette
from datus2_ray.errors import ImageError
from tests.core.images.files import png_chunk

label_maps = st.one_of(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)),
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)),
)


def encoded(image: Image.Image, codec: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format=codec)
    return file.getvalue()


def grey_png(values: np.ndarray, depth: int) -> bytes:
    """Pack a grey PNG of 1, 2 or 4 bits by hand: Pillow does not write these from labels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    bits = np.unpackbits(values[:, :, None], axis=2)[:, :, 8 - depth :].reshape(len(values), -1)
    rows = np.packbits(bits, axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@settings(deadline=None)
@given(label_maps)
def test_labels_survive_png(labels: np.ndarray) -> None:
    decoded = decode_labels(encode_labels(labels))
    assert decoded.dtype == labels.dtype
    np.testing.assert_array_equal(decoded, labels)


def test_pngs_are_grey_of_8_and_16_bits() -> None:
    eight = encode_labels(np.array([[0, NOISE_8]], np.uint8))
    sixteen = encode_labels(np.array([[300, NOISE_16]], np.uint16))
    # Bit depth and colour type of the header.
    assert (eight[24], eight[25]) == (8, 0)
    assert (sixteen[24], sixteen[25]) == (16, 0)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), st.integers(1, 40), st.integers(1, 40)
)
def test_upsampling_takes_the_patch_under_the_pixel_centre(labels: np.ndarray, height: int, width: int) -> None:
    upsampled = upsample_nearest(labels, height, width)
    h, w = labels.shape
    for y in range(height):
        for x in range(width):
            # Exact: (y + 0.5) h / H as a fraction.
            assert upsampled[y, x] == labels[math.floor((2 * y + 1) * h / (2 * height)), (2 * x + 1) * w // (2 * width)]


def test_upsampling_by_a_whole_factor_repeats() -> None:
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    np.testing.assert_array_equal(upsample_nearest(labels, 24, 32), np.kron(labels, np.ones((8, 8), np.uint16)))


def test_palette_png_keeps_labels_and_shows_colours() -> None:
    labels = np.array([[0, 1, 2], [253, 254, NOISE_8]], np.uint8)
    colours = palette(254)
    data = encode_palette_png(labels, colours)
    np.testing.assert_array_equal(decode_labels(data), labels)
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(shown[0], colours[:3])
    np.testing.assert_array_equal(shown[1], [colours[253], [0, 0, 0], [0, 0, 0]])


def test_noise_stays_black_with_a_full_palette() -> None:
    data = encode_palette_png(np.full((2, 2), NOISE_8, np.uint8), np.full((256, 3), 200, np.uint8))
    assert np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).max() == 0


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_ids_of_low_bit_depth_are_not_stretched(depth: int) -> None:
    ids = np.random.default_rng(depth).integers(0, 2**depth, (9, 11), np.uint8)
    np.testing.assert_array_equal(decode_labels(grey_png(ids, depth)), ids)


@pytest.mark.parametrize("codec", ["PNG", "BMP", "TIFF"])
def test_ids_in_grey_palette_and_equal_channels(codec: str) -> None:
    ids = np.random.default_rng(0).integers(0, 256, (9, 11), np.uint8)
    indexed = Image.fromarray(ids)
    indexed.putpalette(palette(256).tobytes())
    for image in (Image.fromarray(ids), indexed, Image.fromarray(np.dstack([ids] * 3))):
        np.testing.assert_array_equal(decode_labels(encoded(image, codec)), ids)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"no image", "unreadable"),
        (encode_labels(np.zeros((99, 99), np.uint8))[:60], "unreadable"),
        (encoded(Image.new("RGB", (9, 9), (1, 2, 3))), "mask_format"),
        (encoded(Image.new("LA", (9, 9))), "mask_format"),
        (encoded(Image.new("F", (9, 9)), "TIFF"), "mask_format"),
        (encoded(Image.new("L", (9, 9)), "JPEG"), "mask_format"),
    ],
)
def test_what_holds_no_ids_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_labels(data)
    assert caught.value.kind == kind


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_mask_is_labels_or_a_named_fault(place: int, value: int) -> None:
    data = bytearray(encode_labels(np.arange(100, dtype=np.uint8).reshape(10, 10)))
    data[place % len(data)] = value
    try:
        labels = decode_labels(bytes(data))
    except ImageError:
        return
    assert labels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_of_patches_come_back_from_their_bytes(dtype: type) -> None:
    labels = np.arange(12, dtype=dtype).reshape(3, 4)
    back = patch_labels(labels.tobytes(), 3, 4)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, labels)


def test_paint_marks_noise_and_widens_above_254_clusters() -> None:
    patch_map = np.array([[0, -1], [1, 1]])
    small = paint(patch_map, np.array([5, 253]), 254)
    assert small.dtype == np.uint8
    assert small.tolist() == [[5, 255], [253, 253]]
    wide = paint(patch_map, np.array([5, 254]), 255)
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[5, 65535], [254, 254]]
    assert paint(np.full((1, 2), -1), np.empty(0, dtype=np.int32), 6).tolist() == [[255, 255]]


def test_damaged_metadata_do_not_cost_a_mask() -> None:
    mask = np.arange(64, dtype=np.uint8).reshape(8, 8)
    png = encode_labels(mask)
    chunk = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 5_000_000))
    np.testing.assert_array_equal(decode_labels(png[:33] + chunk + png[33:]), mask)
