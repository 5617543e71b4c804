"""Any number of different images out of few: Parquet shards of real images, each with a change of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datus2_ray.core.images.sniff import IMAGE_SUFFIXES

#: Images in a shard, and in a row group of it.
SHARD, GROUP = 1_000, 250

_SCHEMA = pa.schema({"image_id": pa.string(), "image": pa.binary()})


def write_changed(folder: Path, count: int, out: Path) -> None:
    """Write shards of `count` images: those below a folder in sorted order, again and again, each changed.

    A change cuts 70 to 95 % of each side out, mirrors half of the images, and compresses as JPEG with a quality of 75
    to 91. The same folder and count give the same bytes.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise SystemExit(f"{folder} has no images")
    out.mkdir(parents=True, exist_ok=True)
    images = _changed(files)
    for first in range(0, count, SHARD):
        ids = [f"{number:07d}" for number in range(first, min(first + SHARD, count))]
        table = pa.table({"image_id": ids, "image": [next(images) for _ in ids]}, schema=_SCHEMA)
        pq.write_table(table, out / f"{first // SHARD:04d}.parquet", row_group_size=GROUP)


def _changed(files: list[Path]) -> Iterator[bytes]:
    rng = random.Random(0)
    read = lru_cache(maxsize=1_000)(lambda file: Image.open(file).convert("RGB"))
    while True:
        for file in files:
            image = read(file)
            width, height = (int(side * rng.uniform(0.7, 0.95)) for side in image.size)
            left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
            cut = image.crop((left, top, left + width, top + height))
            if rng.random() < 0.5:
                cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            encoded = BytesIO()
            cut.save(encoded, "JPEG", quality=rng.randrange(75, 92))
            yield encoded.getvalue()
