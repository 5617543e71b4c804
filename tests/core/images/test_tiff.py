from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from datus2_ray.core.images import tiff
from datus2_ray.core.images.decode import decode
from tests.core.images.files import encoded, picture


def stack(count: int, **options: object) -> tuple[bytes, list[np.ndarray]]:
    pages = [picture() // np.uint8(number + 1) for number in range(count)]
    first, *others = (Image.fromarray(page) for page in pages)
    return encoded(first, "TIFF", save_all=True, append_images=others, **options), pages


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_every_page_is_a_file_of_its_own(compression: str | None) -> None:
    data, pages = stack(3, compression=compression)
    found = tiff.pages_of(data)
    assert len(found) == 3
    for page, pixels in zip(found, pages, strict=True):
        alone = tiff.extract(data, page)
        assert len(alone) < len(data)
        assert len(tiff.pages_of(alone)) == 1
        np.testing.assert_array_equal(decode(alone), pixels)


@pytest.mark.parametrize("options", [{"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}, {"rowsperstrip": 7}])
def test_pages_of_files_that_others_write(options: dict[str, object]) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    pages = [picture() // np.uint8(number + 1) for number in range(3)]
    own = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(file, **own) as writer:
        for page in pages:
            writer.write(page, photometric="rgb", **options)
    data = file.getvalue()
    for page, pixels in zip(tiff.pages_of(data), pages, strict=True):
        np.testing.assert_array_equal(decode(tiff.extract(data, page)), pixels)


def test_overviews_and_masks_of_a_page_are_no_pictures() -> None:
    tifffile = pytest.importorskip("tifffile")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(picture(), photometric="rgb")
        writer.write(picture()[::2, ::2], photometric="rgb", subfiletype=1)
        writer.write(np.ones((40, 56), bool), subfiletype=4)
    assert len(tiff.pages_of(file.getvalue())) == 1


def test_a_chain_of_directories_may_end_in_a_loop_or_nowhere() -> None:
    data = bytearray(stack(2)[0])
    (first,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    for target in (first, len(data) + 100):
        struct.pack_into("<L", data, first + 2 + 12 * count, target)
        assert len(tiff.pages_of(bytes(data))) == 1


def test_pixels_that_are_not_there_are_an_error() -> None:
    data = encoded(picture(), "TIFF")
    page = tiff.pages_of(data)[0]
    page.tags.pop(279)
    with pytest.raises(ValueError, match="strips"):
        tiff.extract(data, page)
