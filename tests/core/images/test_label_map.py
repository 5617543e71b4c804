from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from datus2_ray.core.images import label_map as label_maps
from datus2_ray.core.images.label_map import LabelMap, read_label_map
from datus2_ray.core.images.labels import encode_labels
from datus2_ray.core.images.rendering import MAX_MEGAPIXELS
from datus2_ray.errors import ImageError

IDS = np.random.default_rng(0).integers(0, 200, (9, 11)).astype(np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (200, 3), dtype=np.uint8)


def encoded(image: Image.Image, codec: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, codec, **options)
    return file.getvalue()


def indexed(ids: np.ndarray, colours: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    return image


maps = st.one_of(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)).map(LabelMap),
    hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)).map(LabelMap),
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))).map(LabelMap),
    st.tuples(
        hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)),
        hnp.arrays(np.uint8, (256, 3)),
    ).map(lambda both: LabelMap(*both)),
)


@settings(deadline=None)
@given(maps)
def test_maps_survive_their_encoding(label_map: LabelMap) -> None:
    back = read_label_map(label_map.encode())
    assert back.values.dtype == label_map.values.dtype
    np.testing.assert_array_equal(back.values, label_map.values)
    np.testing.assert_array_equal(back.colours(), label_map.colours())


@pytest.mark.parametrize("codec", ["PNG", "BMP", "TIFF"])
def test_ids_and_palettes_of_every_format(codec: str) -> None:
    np.testing.assert_array_equal(read_label_map(encoded(Image.fromarray(IDS), codec)).ids(), IDS)
    read = read_label_map(encoded(indexed(IDS, COLOURS), codec))
    np.testing.assert_array_equal(read.ids(), IDS)
    expected = COLOURS.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    np.testing.assert_array_equal(read.colours(), expected[IDS])
    np.testing.assert_array_equal(
        read_label_map(encoded(Image.fromarray(COLOURS[IDS]), codec)).colours(), expected[IDS]
    )


def test_reversible_jpeg_2000_keeps_ids() -> None:
    np.testing.assert_array_equal(read_label_map(encoded(Image.fromarray(IDS), "JPEG2000")).ids(), IDS)


def test_gif_is_read_by_its_colours() -> None:
    for image in (Image.fromarray(IDS), indexed(IDS, np.repeat(np.arange(200, dtype=np.uint8)[:, None], 3, 1))):
        read = read_label_map(encoded(image, "GIF"))
        assert read.coloured
        np.testing.assert_array_equal(read.ids(), IDS)


def test_transparent_pixels_are_black_and_opaque_ones_are_themselves() -> None:
    alpha = np.where(IDS > 100, 255, 0).astype(np.uint8)
    read = read_label_map(encoded(Image.fromarray(np.dstack([COLOURS[IDS], alpha]))))
    np.testing.assert_array_equal(read.values, np.where(IDS[:, :, None] > 100, COLOURS[IDS], 0))
    read = read_label_map(encoded(Image.fromarray(np.dstack([IDS, alpha]), "LA")))
    np.testing.assert_array_equal(read.values, np.where(IDS > 100, IDS, 0))


def test_whole_numbers_are_ids_and_minus_one_is_void() -> None:
    numbers = IDS.astype(np.int32) - 1
    for values in (numbers, numbers.astype(np.float32)):
        read = read_label_map(encoded(Image.fromarray(values), "TIFF"))
        np.testing.assert_array_equal(read.ids(), np.where(numbers < 0, 65535, numbers))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"no image", "unreadable"),
        (encode_labels(np.zeros((99, 99), np.uint8))[:60], "unreadable"),
        (encoded(Image.fromarray(IDS), "JPEG"), "mask_format"),
        (encoded(Image.fromarray(IDS), "AVIF"), "mask_format"),
        (encoded(Image.fromarray(IDS), "JPEG2000", irreversible=True), "mask_format"),
        (encoded(Image.new("LA", (9, 9), (3, 99))), "mask_format"),
        (encoded(Image.fromarray(IDS.astype(np.float32) / 2), "TIFF"), "mask_format"),
        (encoded(Image.fromarray(IDS.astype(np.int32) - 9), "TIFF"), "mask_format"),
        (encoded(Image.new("CMYK", (9, 9)), "TIFF"), "mask_format"),
    ],
)
def test_what_is_no_label_map_is_refused(data: bytes, kind: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_label_map(data)
    assert caught.value.kind == kind


@settings(deadline=None)
@given(maps, st.sampled_from([1, 20, label_maps.PIXELS_COUNTED]))
def test_counts_are_those_of_every_pixel(label_map: LabelMap, pixels_counted: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_maps, "PIXELS_COUNTED", pixels_counted)
        check_counts(label_map)


def check_counts(label_map: LabelMap) -> None:
    codes = label_map.codes()
    if len(np.unique(codes)) > 256:
        with pytest.raises(ImageError, match="in one image"):
            label_map.count()
        return
    counts = label_map.count()
    padded = np.pad(codes.astype(np.int64), 1, constant_values=-1)
    same = [
        padded[1 + y : 1 + y + len(codes), 1 + x : 1 + x + codes.shape[1]] == codes
        for y, x in ((0, 1), (0, -1), (1, 0), (-1, 0))
    ]
    inside = np.logical_and.reduce(same)
    for identity, colour, pixels, within in counts.tolist():
        at = codes == (colour if label_map.coloured else identity)
        assert (pixels, within) == (at.sum(), inside[at].sum())
        assert label_map.palette is None or colour == label_map.colours()[at][0]
    assert counts[:, 2].sum() == codes.size


@pytest.mark.parametrize("shape", [(6000, 8000), (1, 48_000_000), (8, 6_000_000), (48_000_000, 1)])
def test_a_large_map_is_counted_in_little_memory(shape: tuple[int, int]) -> None:
    label_map = LabelMap(np.zeros(shape, np.uint8))
    tracemalloc.start()
    counts = label_map.count()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    inside = max(0, shape[0] - 2) * max(0, shape[1] - 2)
    assert counts.tolist() == [[0, -1, 48_000_000, inside]]
    assert most < 80e6


def every_kind() -> list[bytes]:
    return [
        encode_labels(IDS), encode_labels(IDS.astype(np.uint16) * 300), encoded(indexed(IDS, COLOURS)),
        encoded(Image.fromarray(COLOURS[IDS])), encoded(indexed(IDS, COLOURS), "GIF"),
        encoded(indexed(IDS, COLOURS), "TIFF"),
        encoded(Image.fromarray(COLOURS[IDS]), "WEBP", lossless=True), encoded(Image.fromarray(IDS), "BMP"),
    ]  # fmt: skip


KINDS = every_kind()


@settings(deadline=None, max_examples=1500)
@given(
    st.sampled_from(range(len(KINDS))),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    st.integers(0, 10_000),
)
def test_a_damaged_file_is_a_map_or_a_named_fault(kind: int, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(KINDS[kind])
    for place, value in changes:
        data[place % len(data)] = value
    try:
        read = read_label_map(bytes(data if cut % 3 else data[: cut % len(data)]), MAX_MEGAPIXELS)
        read.count()
    except ImageError as fault:
        named = fault
    else:
        assert read.values.dtype in (np.uint8, np.uint16)
        read_label_map(read.encode(), MAX_MEGAPIXELS)
        return
    assert named.kind in ("empty", "unreadable", "too_large", "mask_format")
    assert "\n" not in named.message
