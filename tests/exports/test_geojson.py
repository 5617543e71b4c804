"""geojson: polygons where the pixels of a GeoTIFF lie on earth, read back by Shapely; rasterio is the readers'."""

from __future__ import annotations

import subprocess
import sys

import pytest

from datus2_ray.errors import UsageError
from datus2_ray.exports import FORMATS

WRITE_AND_READ = """
import json
from io import BytesIO
import numpy as np
import rasterio.io, rasterio.warp
import shapely
from PIL import Image
from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import ImageError
from datus2_ray.exports.format import LabelledImage, Written
from datus2_ray.exports.geojson import GeoJson

CRS, NORTH, WEST, METRES = "EPSG:32633", 5_800_000.0, 390_000.0, 10.0
mask = np.full((30, 40), 255, np.uint8)
mask[2:20, 3:25], mask[8:12, 10:14], mask[25:, 30:] = 0, 1, 0

def tiff(**georeference):
    with rasterio.io.MemoryFile() as file:
        with file.open(driver="GTiff", height=30, width=40, count=1, dtype="uint8", **georeference) as image:
            image.write(mask, 1)
        return bytes(file.getbuffer())

transform = rasterio.Affine(METRES, 0, WEST, 0, -METRES, NORTH)
target = GeoJson((NamedClass("field", "#ffffff"), NamedClass("pond", "#0000ff")), ("train",))
target.check()
png = BytesIO()
Image.fromarray(mask).save(png, format="PNG")
data = tiff(crs=CRS, transform=transform)
files = (data, png.getvalue(), tiff())
images = [LabelledImage(str(i), "train", "a.tif", mask, file) for i, file in enumerate(files)]
images.append(LabelledImage("3", "train", "a.tif", mask[1:], data))
first, *others = target.encode_part("part", images)
assert [fault.kind for fault in others] == ["no_georeference", "no_georeference", "mask_size"], others

((name, pieces),) = target.merge(lambda split: iter([("0", first.record)]))
assert name == "train.geojson"
collection = json.loads(b"".join(pieces()))
found = [(f["properties"]["class"], shapely.geometry.shape(f["geometry"])) for f in collection["features"]]
assert sorted(name for name, _ in found) == ["field", "field", "pond"]
# The centre of every pixel, in degrees, is in the polygon of its class and in no other.
rows, columns = np.indices(mask.shape)
x, y = WEST + METRES * (columns.ravel() + 0.5), NORTH - METRES * (rows.ravel() + 0.5)
points = shapely.points(*rasterio.warp.transform(CRS, "EPSG:4326", x, y))
assert 13 < points[0].x < 14 and 52 < points[0].y < 53, points[0]
for number, title in enumerate(("field", "pond")):
    inside = shapely.contains(shapely.union_all([shape for name, shape in found if name == title]), points)
    assert (inside.reshape(mask.shape) == (mask == number)).all()
"""


def test_polygons_lie_where_the_pixels_do(readers: dict[str, str]) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", WRITE_AND_READ], env=readers, check=True)


def test_without_rasterio_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UsageError, match="geojson needs rasterio: pip install 'datus2-ray\\[geo\\]'"):
        FORMATS["geojson"]((), ("train",)).check()
