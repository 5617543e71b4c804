"""hf: Parquet files of images and masks that ``datasets.load_dataset`` opens as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from datus2_ray.core.images.labels import encode_labels
from datus2_ray.errors import ImageError
from datus2_ray.exports.format import Format, LabelledImage, Merged, Records, Written

#: Arrow type of a picture.
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

FEATURES = {"image_id": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}, "mask": {"_type": "Image"}}

#: As ``datasets`` writes it: what the columns are.
SCHEMA = pa.schema(
    [("image_id", pa.string()), ("image", PICTURE), ("mask", PICTURE)],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


@dataclass(frozen=True)
class HuggingFace(Format):
    """``data/SPLIT-*.parquet``; ``README.md`` names the splits, ``id2label.json`` the classes of the masks."""

    takes_images: ClassVar[bool] = True

    def encode(self, image: LabelledImage) -> Written:
        """Return nothing: the images of a part share a file."""
        return Written({})

    def encode_part(self, part: str, images: Iterable[LabelledImage]) -> Iterator[Written | ImageError]:
        """Yield a file per split with the images of a part, as those of its first one."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for image in images:
            pictures = {
                "image": {"bytes": image.image, "path": f"{image.image_id}{image.suffix}"},
                "mask": {"bytes": encode_labels(image.mask), "path": f"{image.image_id}.png"},
            }
            rows.setdefault(image.split, []).append({"image_id": image.image_id, **pictures})
        files = {f"data/{split}-{part}.parquet": _table(of_split) for split, of_split in rows.items()}
        for number in range(sum(map(len, rows.values()))):
            yield Written({} if number else files)

    def merge(self, records: Records) -> Merged:
        """Return what says which files and classes there are."""
        # A split that no image fell in has no files.
        splits = [split for split in self.splits if next(records(split), None) is not None]
        yield "README.md", partial(self._card, splits)
        yield "id2label.json", self._names

    def _names(self) -> Iterator[bytes]:
        ids = {number: named.name for number, named in enumerate(self.classes)}
        yield json.dumps(ids, indent=2, ensure_ascii=False).encode() + b"\n"

    def _card(self, splits: list[str]) -> Iterator[bytes]:
        files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
        card = {"configs": [{"config_name": "default", "data_files": files}], "task_categories": ["image-segmentation"]}
        yield f"---\n{yaml.safe_dump(card, sort_keys=False)}---\n".encode()
        yield b"Masks hold class ids, whose names are in id2label.json; 255 (65535 in masks of 16 bits) is no class.\n"


def _table(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd", row_group_size=100)
    return bytes(sink.getvalue())
