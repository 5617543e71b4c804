"""Images of more than 8 bits and of more bands than three."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from datus2_ray.core.images.decode import decode, inspect
from datus2_ray.core.images.rendering import Rendering
from datus2_ray.errors import ImageError
from tests.core.images.files import encoded, picture, png16

RNG = np.random.default_rng(0)


def multiband(values: np.ndarray, **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", "planarconfig": "contig", **options})
    return file.getvalue()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_all_16_bits_of_a_colour_png_are_read(channels: int) -> None:
    values = RNG.integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    found = inspect(png16(values))
    colours = values[:, :, :-1] if channels in (2, 4) else values
    np.testing.assert_array_equal(found.values, colours)
    if channels in (2, 4):
        np.testing.assert_array_equal(found.alpha, values[:, :, -1] >> 8)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"byteorder": ">"}, {"compression": "zlib", "byteorder": ">"}, {"tile": (16, 16)}],
)
def test_all_16_bits_of_a_colour_tiff_are_read(options: dict[str, Any]) -> None:
    values = RNG.integers(0, 65536, (32, 48, 3)).astype(np.uint16)
    np.testing.assert_array_equal(inspect(multiband(values, photometric="rgb", **options)).values, values)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_16_are_scaled_by_the_range_of_the_set(bits: int) -> None:
    scaled = (picture().astype(np.float64) / 255 * (2**bits - 1)).round().astype(np.uint16)
    rendering = Rendering(ranges=(("uint16", 0, 2**bits - 1),))
    np.testing.assert_array_equal(decode(png16(scaled), rendering=rendering), picture())
    dark = scaled // 4  # the same scene in a quarter of the light stays as dark beside it
    assert np.abs(decode(png16(dark), rendering=rendering).astype(int) - picture() // 4).max() <= 1


def test_the_range_of_an_image_leaves_out_what_is_rare() -> None:
    values = np.tile(np.arange(100, 1100, dtype=np.uint16), (10, 1))
    values[0, 0], values[0, 1] = 65535, 0
    kind, low, high = inspect(encoded(values)).measure() or ("", 0, 0)
    assert kind == "uint16"
    assert 100 <= low <= 102
    assert 1097 <= high <= 1099
    assert inspect(encoded(picture())).measure() is None


def test_no_data_and_what_is_not_finite_are_black_and_outside_the_range() -> None:
    values = np.linspace(10, 20, 40 * 56, dtype=np.float32).reshape(40, 56)
    values[:20] = -9999
    values[30, 0], values[30, 1] = np.nan, np.inf
    tags = [(42113, "s", 0, "-9999", True)]
    found = inspect(multiband(values, extratags=tags))
    kind, low, high = found.measure() or ("", 0, 0)
    assert (kind, low >= 15, high <= 20) == ("float32", True, True)
    pixels = found.to_rgb(Rendering(ranges=((kind, low, high),)))
    assert pixels[:20].max() == 0
    assert pixels[30, :2].max() == 0
    assert pixels[-1, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_bands_are_chosen_and_the_first_three_are_said(kind: type, planar: str) -> None:
    values = RNG.integers(0, 200, (24, 32, 6)).astype(kind)
    data = multiband(values if planar == "contig" else np.moveaxis(values, -1, 0), planarconfig=planar)
    found = inspect(data)
    assert found.notes == ["bands 1, 2, 3 of 6"]
    np.testing.assert_array_equal(found.values, values[:, :, :3])
    np.testing.assert_array_equal(inspect(data, Rendering(bands=(5, 4, 1))).values, values[:, :, [4, 3, 0]])
    grey = Rendering(bands=(6,), ranges=(("uint16", 0, 255),))
    np.testing.assert_array_equal(decode(data, rendering=grey), np.repeat(values[:, :, 5:], 3, axis=2))


def test_bands_of_pictures_and_bands_that_are_missing() -> None:
    swapped = Rendering(bands=(3, 2, 1))
    np.testing.assert_array_equal(decode(encoded(picture()), rendering=swapped), picture()[:, :, ::-1])
    for data in (encoded(picture()), encoded(picture()[:, :, 0]), png16(np.zeros((9, 9, 3), np.uint16))):
        with pytest.raises(ImageError, match="bands 4, 3, 2 are asked for") as caught:
            decode(data, rendering=Rendering(bands=(4, 3, 2)))
        assert caught.value.kind == "bands"


def test_alpha_of_many_bands_is_no_band() -> None:
    values = RNG.integers(0, 256, (24, 32, 5)).astype(np.uint8)
    data = multiband(values, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    found = inspect(data)
    np.testing.assert_array_equal(found.values, values[:, :, :3])
    assert found.notes == ["bands 1, 2, 3 of 4"]


def test_without_the_extra_an_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = multiband(np.zeros((24, 32, 6), np.uint16))
    monkeypatch.setattr("datus2_ray.core.images.deep.has_tifffile", lambda: False)
    with pytest.raises(ImageError, match=r"6 bands and 16 bits; pip install 'datus2-ray\[tiff\]'") as caught:
        decode(data)
    assert caught.value.kind == "unsupported"


def test_heic_is_read_by_an_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_bytes("RGB", (64, 48), np.full((48, 64, 3), (200, 40, 90), np.uint8).tobytes()).save(file)
    pixels = decode(file.getvalue())
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - (200, 40, 90)).max() <= 6


@pytest.mark.parametrize(("codec", "options"), [("AVIF", {"quality": 95}), ("JPEG2000", {}), ("PPM", {})])
def test_newer_and_older_formats(codec: str, options: dict[str, Any]) -> None:
    pixels = decode(encoded(picture(), codec, **options))
    assert np.abs(pixels.astype(int) - picture()).mean() < 4
