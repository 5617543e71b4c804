"""coco-panoptic: a PNG of segment numbers per image, as panopticapi reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from datus2_ray.core.images.regions import regions
from datus2_ray.exports.coco import json_file, to_json, with_fields
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written, colours_of


@dataclass(frozen=True)
class CocoPanoptic(Format):
    """``annotations/SPLIT.json`` and ``annotations/SPLIT/ID.png``, of R + 256 G + 65536 B, 0 = no class."""

    def encode(self, image: LabelledImage) -> Written:
        """Return the PNG file; the record is the image's entry and its annotation, without their numbers."""
        numbers = np.zeros(image.mask.shape, np.uint32)
        segments: list[dict[str, Any]] = []
        for segment, region in enumerate(regions(image.mask, self.instances), 1):
            region.paint(numbers, segment)
            described = {"id": segment, "category_id": region.number + 1, "iscrowd": 0}
            segments.append({**described, "area": region.area, "bbox": region.box})
        file = BytesIO()
        colours = np.stack([numbers >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(file, format="PNG")
        name = f"{image.image_id}.png"
        entry = {"file_name": image.file, "width": image.width, "height": image.height}
        record = (to_json(entry), to_json({"file_name": name, "segments_info": segments}))
        return Written({f"annotations/{image.split}/{name}": file.getvalue()}, record)

    def merge(self, records: Records) -> Merged:
        """Return the file of each split; images are numbered in it from 1."""
        for split in self.splits:
            yield f"annotations/{split}.json", partial(self._pieces, records, split)

    def _pieces(self, records: Records, split: str) -> Iterator[bytes]:
        categories = [
            {"id": n, "name": c.name, "supercategory": c.name, "isthing": int(self.instances), "color": colour}
            for n, (c, colour) in enumerate(zip(self.classes, colours_of(self.classes).tolist(), strict=True), 1)
        ]
        yield from json_file(
            categories=[to_json(category) for category in categories],
            images=(with_fields(entry, id=number) for number, (_, (entry, _)) in enumerate(records(split), 1)),
            annotations=(with_fields(own, image_id=number) for number, (_, (_, own)) in enumerate(records(split), 1)),
        )
