"""Thousands of damaged files: each ends as an image, as a fault in words, or as an error in one line that names it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.config import load
from datus2_ray.core.images import decode
from datus2_ray.core.images.rendering import DEFAULT
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.errors import DatusError, ImageError
from datus2_ray.sources.list_source import list_source
from datus2_ray.stages.ingest.from_files import check_image
from datus2_ray.stages.ingest.ingest import reader
from tests.core.images.files import encoded, picture

#: Pillow's own, where a test asks it whether it decodes a file.
pytestmark = pytest.mark.filterwarnings("ignore")

#: Seconds that one file may take.
LIMIT = 10

KINDS = {"empty", "unreadable", "unsupported", "bands", "too_small", "too_large"}

#: What is done to a file, at a place that counts from its start or its end: a byte is set, taken out, or put in.
Damage = tuple[str, int, int]
damages = st.lists(
    st.tuples(st.sampled_from(["set", "set", "set", "cut", "insert"]), st.integers(-400, 400), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)
cuts = st.one_of(st.none(), st.none(), st.none(), st.integers(0, 3000))


def damaged(data: bytes, places: Sequence[Damage], cut: int | None) -> bytes:
    spoilt = bytearray(data)
    for what, place, value in places:
        at = place % len(spoilt) if abs(place) % 3 else place * 7919 % len(spoilt)
        if what == "set":
            spoilt[at] = value
        elif what == "cut" and len(spoilt) > 8:
            del spoilt[at : at + 1 + value % 4]
        else:
            spoilt[at:at] = bytes([value]) * (1 + value % 3)
    return bytes(spoilt[:cut])


def seeded(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(max_examples=examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def sees(data: bytes) -> bool:
    """Return whether Pillow decodes a file."""
    try:
        with Image.open(io.BytesIO(data), formats=decode._FORMATS) as image:
            image.load()
    except Exception:
        return False
    return True


def fault_of(data: bytes, mask: bytes | None = None) -> ImageError | None:
    """Read an image as ingest and then as the later stages do; return its fault."""
    start = time.monotonic()
    row: dict[str, Any] = {}
    fault = None
    try:
        row = check_image(data, mask, "folder", DEFAULT)
    except ImageError as error:
        fault = error
    assert time.monotonic() - start < LIMIT
    if fault is not None:
        assert fault.kind in KINDS or fault.kind.startswith("mask_")
        assert "\n" not in fault.message
        return fault
    assert decode.decode(data).shape == (row["height"], row["width"], 3)
    assert decode.decode(data, 16).ndim == 3
    return None


def exif() -> Image.Exif:
    block = Image.Exif()
    block[0x112], block[0x10F], block[0x11A] = 6, "a maker", (72, 1)
    return block


FRAMES = {"save_all": True, "append_images": [Image.fromarray(picture() // 2)]}
FILES = {
    "jpeg": encoded(picture(), "JPEG", exif=exif(), comment=b"a comment"),
    "progressive jpeg": encoded(picture(), "JPEG", progressive=True),
    "cmyk jpeg": encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG"),
    "png": encoded(picture(), "PNG", exif=exif()),
    "palette png": encoded(Image.fromarray(picture()).quantize(16), "PNG", transparency=0),
    "deep png": encoded(picture()[:, :, 0].astype(np.uint16) * 16, "PNG"),
    "tiff": encoded(picture(), "TIFF", exif=exif()),
    "lzw tiff": encoded(picture(), "TIFF", compression="tiff_lzw"),
    "deep tiff": encoded(picture()[:, :, 0].astype(np.uint16) * 16, "TIFF"),
    "float tiff": encoded(picture()[:, :, 0].astype(np.float32), "TIFF"),
    "stack": encoded(Image.fromarray(picture()), "TIFF", **FRAMES),
    "webp": encoded(picture(), "WEBP", exif=exif()),
    "lossless webp": encoded(picture(), "WEBP", lossless=True),
    "gif": encoded(Image.fromarray(picture()), "GIF", **FRAMES),
    "avif": encoded(picture(), "AVIF", speed=10),
    "jpeg 2000": encoded(picture(), "JPEG2000"),
    "bmp": encoded(picture(), "BMP"),
    "ppm": encoded(picture(), "PPM"),
}


@pytest.mark.parametrize("kind", FILES)
@seeded(200)
@given(places=damages, cut=cuts)
def test_an_image_whose_pixels_decode_is_not_lost(kind: str, places: list[Damage], cut: int | None) -> None:
    data = damaged(FILES[kind], places, cut)
    fault = fault_of(data)
    if fault is not None and fault.kind not in ("too_small", "too_large"):
        assert not sees(data), fault


JPEG, PNG, WEBP = FILES["jpeg"], FILES["png"], FILES["webp"]


@pytest.mark.parametrize(
    ("data", "start", "stop"),
    [
        (JPEG, JPEG.index(b"\xff\xe1") + 2, JPEG.index(b"\xff\xfe")),
        (PNG, PNG.index(b"eXIf") + 4, PNG.index(b"IDAT") - 8),
        (WEBP, WEBP.index(b"EXIF") + 4, len(WEBP)),
    ],
    ids=["jpeg", "png", "webp"],
)
@seeded(300)
@given(places=damages)
@example(places=[("set", 0, 255), ("set", 1, 255)])
def test_no_damage_of_exif_costs_a_picture(data: bytes, start: int, stop: int, places: list[Damage]) -> None:
    block = damaged(data[start:stop], [("set", place, value) for _, place, value in places], None)
    spoilt = data[:start] + block + data[stop:]
    assert fault_of(spoilt) is None
    whole, found = decode.decode(data), decode.decode(spoilt)
    # The orientation may have changed, the pixels have not.
    np.testing.assert_array_equal(np.sort(found.reshape(-1, 3), axis=0), np.sort(whole.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("mode", ["L", "P", "1"])
@seeded(200)
@given(places=damages, cut=cuts)
def test_damaged_masks(mode: str, places: list[Damage], cut: int | None) -> None:
    mask = Image.fromarray(picture()[:, :, 0] // 64)
    mask = mask.convert("P") if mode == "P" else mask.point(lambda value: 255 * (value > 1)).convert(mode)
    fault_of(PNG, damaged(encoded(mask), places, cut))


@seeded(400)
@given(places=damages, cut=st.one_of(st.none(), st.integers(0, 5000)), compression=st.sampled_from(["none", "zstd"]))
def test_damaged_parquet_files(
    tmp_path_factory: pytest.TempPathFactory, places: list[Damage], cut: int | None, compression: str
) -> None:
    images = [encoded(np.full((16, 20, 3), number * 9, np.uint8)) for number in range(8)]
    masks = [encoded(np.full((16, 20), number % 3, np.uint8)) for number in range(8)]
    table = pa.table({"image": images, "image_id": [f"image {number}" for number in range(8)], "mask": masks})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=4, compression=compression)
    source = tmp_path_factory.getbasetemp() / "damaged"
    source.mkdir(exist_ok=True)
    (source / "a.parquet").write_bytes(damaged(file.getvalue(), places, cut))
    start = time.monotonic()
    rows, message = 0, ""
    try:
        rows = read_shards(source)
    except DatusError as error:
        message = str(error)
    assert time.monotonic() - start < LIMIT
    assert rows or str(source) in message
    assert "\n" not in message


def read_shards(source: Path) -> int:
    """Read every part of a folder of shards; return the number of rows, among them faults."""
    config = load({"source": str(source), "out": str(source.with_name("out")), "clusters": 3})
    listing = list_source(config)
    rows = 0
    for part, payload in listing.parts.items():
        read = reader(config, listing, Unheard(), str(source.with_name("out")))
        (block,) = read(pa.Table.from_pylist([{"part": part, "slices": [{"part": part, **payload}]}]))
        assert len(block) == listing.counts[part]
        rows += len(block)
    return rows
