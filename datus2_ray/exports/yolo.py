"""yolo: polygons in text files beside copies of the images, as Ultralytics trains on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray

from datus2_ray.core.images.outlines import join_rings, trace
from datus2_ray.core.images.regions import Region, regions
from datus2_ray.core.images.sniff import IMAGE_SUFFIXES
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written, sniff_suffix


@dataclass(frozen=True)
class Yolo(Format):
    """``data.yaml``, ``images/SPLIT/`` and ``labels/SPLIT/``: a line per connected region, with class and polygon."""

    takes_images: ClassVar[bool] = True

    def encode(self, image: LabelledImage) -> Written:
        """Return the image and its labels; the record is empty."""
        size = np.array([image.width, image.height])
        found = regions(image.mask, connected=True)
        lines = [f"{region.number} {_corners(region, size)}\n" for region in found]
        # Ultralytics passes over files without the suffix of an image.
        suffix = image.suffix if image.suffix.lower() in IMAGE_SUFFIXES else sniff_suffix(image.image or b"")
        file = f"images/{image.split}/{image.image_id}{suffix}"
        # Where Ultralytics looks for it: beside the last of the folders that are called so.
        before, _, after = f"/{file}".rpartition("/images/")
        labels = f"{before}/labels/{after.removesuffix(suffix)}.txt"
        return Written({file: image.image or b"", labels[1:]: "".join(lines).encode()})

    def merge(self, records: Records) -> Merged:
        """Return ``data.yaml``."""
        yield "data.yaml", self._data

    def _data(self) -> Iterator[bytes]:
        # Ultralytics wants a set to validate on; where there is none it is the one that is trained on.
        names: dict[str, Any] = {"train": "images/" + self.splits[0], "val": "images/" + self.splits[-1]}
        names |= {split: f"images/{split}" for split in self.splits}
        names["names"] = {number: named.name for number, named in enumerate(self.classes)}
        yield yaml.safe_dump(names, sort_keys=False, allow_unicode=True).encode()


def _corners(region: Region, size: NDArray[np.int64]) -> str:
    polygon = join_rings(trace(region.pixels)) + np.array([region.left, region.top])
    # A region of one pixel has one corner, and a polygon at least three.
    polygon = np.concatenate([polygon, np.repeat(polygon[-1:], max(0, 3 - len(polygon)), axis=0)])
    return " ".join(f"{value:.6f}" for value in (polygon / size).reshape(-1).tolist())
