"""geojson: polygons in degrees, of images that are GeoTIFF files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from datus2_ray.core.images.regions import void_of
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.coco import joined, to_json
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written


@dataclass(frozen=True)
class GeoJson(Format):
    """``SPLIT.geojson``: a polygon per connected region, longitude and latitude (WGS 84, RFC 7946)."""

    takes_images: ClassVar[bool] = True

    def check(self) -> None:
        """Raise a UsageError if rasterio is not there."""
        try:
            import rasterio  # noqa: F401
        except ImportError as error:
            raise UsageError("geojson needs rasterio: pip install 'datus2-ray[geo]'") from error

    def encode(self, image: LabelledImage) -> Written:
        """Return no file; the record is the image's features."""
        import rasterio.features
        import rasterio.io
        import rasterio.warp

        try:
            with rasterio.io.MemoryFile(image.image) as file, file.open(driver="GTiff") as tiff:
                crs, transform, shape = tiff.crs, tiff.transform, tiff.shape
        except rasterio.errors.RasterioError as error:
            raise ImageError("no_georeference", "geojson needs GeoTIFF files, and this image is none") from error
        if crs is None:
            raise ImageError("no_georeference", "the TIFF file does not say where on earth it lies")
        if shape != image.mask.shape:
            sizes = f"{image.width}x{image.height} pixels for a TIFF of {shape[1]}x{shape[0]}"
            raise ImageError("mask_size", f"mask of {sizes}")
        shapes = rasterio.features.shapes(image.mask, mask=image.mask != void_of(image.mask), transform=transform)
        features = [
            {
                "type": "Feature",
                "properties": {"image_id": image.image_id, "class": self.classes[int(number)].name},
                "geometry": rasterio.warp.transform_geom(crs, "EPSG:4326", shape, precision=9),
            }
            for shape, number in shapes
        ]
        return Written({}, tuple(map(to_json, features)))

    def merge(self, records: Records) -> Merged:
        """Return the collection of each split."""
        for split in self.splits:
            yield f"{split}.geojson", partial(self._collection, records, split)

    def _collection(self, records: Records, split: str) -> Iterator[bytes]:
        yield b'{"type": "FeatureCollection", "features": [\n'
        yield from joined(feature for _, features in records(split) for feature in features)
        yield b"]}\n"
