"""A part is read whole: what cannot be decoded keeps its place, with its fault."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.operators.read_images import ReadImages, pixels_of, scatter
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, schemas


def png(height: int, width: int) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("patch", "shapes"), [(None, [(64, 64)] * 2), (16, [(64, 96), (80, 64)])])
def test_images_that_cannot_be_decoded_keep_their_places(
    tmp_path: Path, patch: int | None, shapes: list[tuple[int, int]]
) -> None:
    sizes = [(40, 60), (40, 60), (50, 40)]
    data = [png(*sizes[0]), b"no image", png(*sizes[2])]
    rows = [
        {"image_id": i, "image": image, "height": height, "width": width, "mask": None}
        for i, image, (height, width) in zip("abc", data, sizes, strict=True)
    ]
    parquet.write_table(str(tmp_path / "p"), pa.Table.from_pylist(rows, schemas.IMAGES))
    read = ReadImages(ImagesTable(str(tmp_path)), 64, Unheard(), patch=patch)
    block = read(pa.table({"part": ["p"]}))
    assert block["image_id"].to_pylist() == list("abc")
    assert block["part"].to_pylist() == ["p"] * 3
    assert block["fault_kind"].to_pylist() == [None, "unreadable", None]
    pixels, places = pixels_of(block)
    assert places == [0, 2]
    assert [image.shape for image in pixels] == [(*shape, 3) for shape in shapes]
    for image, row in zip(pixels, (rows[0], rows[2]), strict=True):
        whole = Image.open(BytesIO(row["image"]))  # type: ignore[arg-type]
        expected = whole.resize(image.shape[1::-1], Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(image, np.asarray(expected))
    assert scatter(["x", "y"], places, 3) == ["x", None, "y"]
