"""label-studio: tasks with brush predictions, for the import of a project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from datus2_ray.core.images.regions import Region, regions
from datus2_ray.exports.coco import joined, to_json
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written

#: Bits that a length of a run, less one, may have.
RUN_BITS = (3, 4, 8, 16)


@dataclass(frozen=True)
class LabelStudio(Format):
    """``SPLIT.json``: a task per image, a brush region per class or connected region; ``labels.xml``: its settings."""

    def encode(self, image: LabelledImage) -> Written:
        """Return no file; the record is the task."""
        results = [
            {
                "id": hashlib.blake2b(f"{image.image_id} {number}".encode(), digest_size=5).hexdigest(),
                "type": "brushlabels",
                "from_name": "tag",
                "to_name": "image",
                "original_width": image.width,
                "original_height": image.height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": list(encode_brush(region)),
                    "brushlabels": [self.classes[region.number].name],
                },
            }
            for number, region in enumerate(regions(image.mask, self.instances))
        ]
        prediction = {"model_version": "datus2-ray", "result": results}
        # A browser would end the path at # or & in a name; the keys of a store are taken as they are.
        is_web = self.image_url.startswith(("http://", "https://", "/"))
        place = self.image_url + (quote(image.file) if is_web else image.file)
        task = {"data": {"image": place}, "predictions": [prediction]}
        return Written({}, (to_json(task),))

    def merge(self, records: Records) -> Merged:
        """Return the tasks of each split, and the settings of the labelling interface."""
        for split in self.splits:
            yield f"{split}.json", partial(self._tasks, records, split)
        yield "labels.xml", self._labels

    def _tasks(self, records: Records, split: str) -> Iterator[bytes]:
        yield b"[\n"
        yield from joined(task for _, (task,) in records(split))
        yield b"]\n"

    def _labels(self) -> Iterator[bytes]:
        yield b'<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        yield b'  <BrushLabels name="tag" toName="image">\n'
        for named in self.classes:
            yield f'    <Label value={quoteattr(named.name)} background="{named.colour}"/>\n'.encode()
        yield b"  </BrushLabels>\n</View>\n"


def encode_brush(region: Region) -> bytes:
    """Return the run lengths of a region as Label Studio has them: of RGBA pixels row by row, 255 inside and 0 outside.

    References
    ----------
    rle-pack of https://github.com/thi-ng/umbrella: a stream of bits, 32 for the number of values, 5 for the bits of a
    value less one, four times 4 for the bits of a length, less one; then runs of a 1, 2 bits for which of the four, the
    length less one, and the value.
    """
    values = 4 * region.shape[0] * region.shape[1]
    bits = [f"{values:032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in RUN_BITS)]
    for number, length in enumerate(region.run_lengths(by_column=False).tolist()):
        inside, rest = number % 2, 4 * length
        while rest:
            run = min(rest, 2 ** RUN_BITS[-1])
            which = next(i for i, width in enumerate(RUN_BITS) if run <= 2**width)
            bits.append(f"1{which:02b}{run - 1:0{RUN_BITS[which]}b}{255 * inside:08b}")
            rest -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
