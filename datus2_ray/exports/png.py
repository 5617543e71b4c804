"""png: masks of class ids that any viewer shows in colour, with a list of the classes and a legend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from xml.sax.saxutils import escape

from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written, encode_mask


@dataclass(frozen=True)
class Png(Format):
    """``masks/ID.png``, 255 or 65535 = no class; ``labels.txt`` has the name of class 0, 1, … in each line."""

    def encode(self, image: LabelledImage) -> Written:
        """Return the mask: with a palette up to 254 classes, else grey with 16 bits."""
        return Written({f"masks/{image.image_id}.png": encode_mask(image.mask, self.classes)})

    def merge(self, records: Records) -> Merged:
        """Return list and legend of the classes, and the ids of each split where there are several."""
        yield "labels.txt", lambda: (f"{named.name}\n".encode() for named in self.classes)
        yield "legend.svg", self._legend
        for split in self.splits if len(self.splits) > 1 else ():
            yield f"splits/{split}.txt", partial(self._ids, records, split)

    def _ids(self, records: Records, split: str) -> Iterator[bytes]:
        for image_id, _ in records(split):
            yield f"{image_id}\n".encode()

    def _legend(self) -> Iterator[bytes]:
        size = f'width="480" height="{24 * len(self.classes) + 8}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">\n'.encode()
        yield b'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        for number, named in enumerate(self.classes):
            y = 24 * number + 8
            yield f'<rect x="8" y="{y}" width="32" height="16" fill="{named.colour}"/>'.encode()
            yield f'<text x="48" y="{y + 13}" font-size="14">{number} {escape(named.name)}</text>\n'.encode()
        yield b"</svg>\n"
