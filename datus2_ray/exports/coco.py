"""coco: annotations with compressed run lengths, as pycocotools reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from datus2_ray.core.images.regions import Region, regions
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written


@dataclass(frozen=True)
class Coco(Format):
    """``annotations/SPLIT.json``: an annotation for each class of an image, or each of its connected regions."""

    def encode(self, image: LabelledImage) -> Written:
        """Return no file; the record is the image's entry and those of its annotations, without their numbers."""
        entry = {"file_name": image.file, "width": image.width, "height": image.height}
        annotations = (
            {
                "category_id": region.number + 1,
                "iscrowd": 0,
                "area": region.area,
                "bbox": region.box,
                "segmentation": run_lengths(region),
            }
            for region in regions(image.mask, self.instances)
        )
        return Written({}, tuple(to_json(fields) for fields in (entry, *annotations)))

    def merge(self, records: Records) -> Merged:
        """Return the file of each split; images are numbered in it from 1, and so are annotations."""
        for split in self.splits:
            yield f"annotations/{split}.json", partial(self._pieces, records, split)

    def _pieces(self, records: Records, split: str) -> Iterator[bytes]:
        def images() -> Iterator[bytes]:
            for number, (_, (entry, *_)) in enumerate(records(split), 1):
                yield with_fields(entry, id=number)

        def annotations() -> Iterator[bytes]:
            count = 0
            for number, (_, (_, *found)) in enumerate(records(split), 1):
                for annotation in found:
                    count += 1
                    yield with_fields(annotation, id=count, image_id=number)

        categories = [{"id": n, "name": c.name, "supercategory": c.name} for n, c in enumerate(self.classes, 1)]
        yield from json_file(categories=map(to_json, categories), images=images(), annotations=annotations())


def run_lengths(region: Region) -> dict[str, Any]:
    """Return COCO's run lengths of a region, compressed."""
    from pycocotools import mask as masks

    compress: Any = masks.frPyObjects
    encoded = compress({"size": region.shape, "counts": region.run_lengths(by_column=True).tolist()}, *region.shape)
    return {"size": list(region.shape), "counts": encoded["counts"].decode()}


def to_json(value: Any) -> bytes:
    """Return a value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def with_fields(entry: bytes, **fields: Any) -> bytes:
    """Return a JSON object with more fields before its own."""
    return to_json(fields)[:-1] + b"," + entry[1:]


def json_file(**lists: Iterator[bytes] | Sequence[bytes]) -> Iterator[bytes]:
    """Yield a JSON object of lists, an entry a line."""
    before = b"{\n"
    for name, entries in lists.items():
        yield before + to_json(name) + b": [\n"
        yield from joined(entries)
        yield b"]"
        before = b",\n"
    yield b"\n}\n"


def joined(entries: Iterator[bytes] | Sequence[bytes]) -> Iterator[bytes]:
    """Yield entries of a JSON list with commas between them, a line each."""
    for number, entry in enumerate(entries):
        yield b",\n" * (number > 0) + entry
    yield b"\n"
