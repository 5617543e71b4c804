"""What only all of ``images/`` together can tell: how many have ground truth, its classes, no id twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import NOISE_8, decode_labels
from datus2_ray.engine.parts import map_parts, stream_parts
from datus2_ray.errors import DatusError
from datus2_ray.sources import layouts
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.shards import ShardColumns
from datus2_ray.store import storage


@dataclass(frozen=True)
class Survey:
    """How many images have ground truth, and the names of the classes in it; none without ground truth."""

    labelled: int
    classes: list[str]


def survey_images(folder: str, listing: Listing) -> Survey:
    """Count the images with ground truth, find the classes where the data set does not name them, and compare ids.

    Ids made from paths are unique by their making; those in a column of shards need not be. They are compared by hashes
    of 64 bits, of which the driver holds all: 8 bytes an image.

    Parameters
    ----------
    folder : str
        URI of ``images/``.
    listing : Listing
        What was read.

    Raises
    ------
    DatusError
        Two images have the same id.
    """
    names = layouts.find(listing.dataset).class_names
    count_classes = listing.labelled and names is None
    if listing.columns is None and not listing.labelled:
        return Survey(0, list(names or ()))
    items = [{"part": part} for part in listing.parts]
    labelled, largest, hashes, owners = 0, -1, [], []
    for row in stream_parts(items, lambda parts, _: map_parts(parts, SurveyPart(folder, count_classes))):
        labelled += row["labelled"]
        largest = max(largest, row["largest"])
        found = np.frombuffer(row["hashes"], np.uint64)
        hashes.append(found)
        owners.append((row["part"], len(found)))
    every = np.concatenate(hashes)
    if listing.columns is not None and len(np.unique(every)) < len(every):
        _name_duplicate(folder, listing.columns, every, owners)
    return Survey(labelled, list(names or (f"class {number}" for number in range(largest + 1))))


@dataclass(frozen=True)
class SurveyPart:
    """CPU task: looks at a part of ``images/``.

    Parameters
    ----------
    folder : str
        URI of ``images/``.
    count_classes : bool
        Whether the largest class id is looked for.
    """

    folder: str
    count_classes: bool

    def __call__(self, block: pa.Table) -> pa.Table:
        """Count masks, hash ids, and find the largest class id; -1 where there is none."""
        part = block["part"][0].as_py()
        table = storage.read_table(storage.join(self.folder, part), ["image_id", "mask"])
        hashes = b"".join(_hash(image_id) for image_id in table["image_id"].to_pylist())
        masks = [mask for mask in table["mask"].to_pylist() if mask is not None]
        ids = [decode_labels(mask) for mask in masks] if self.count_classes else []
        largest = max((int(i[i < NOISE_8].max(initial=0)) for i in ids), default=-1)
        return pa.table({"part": [part], "labelled": [len(masks)], "hashes": [hashes], "largest": [largest]})


def _hash(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8).digest()


def _name_duplicate(folder: str, columns: ShardColumns, hashes: np.ndarray, owners: Sequence[tuple[str, int]]) -> None:
    """Read the two parts that share a hash and raise, unless it was the hash alone that they shared."""
    order = np.argsort(hashes, kind="stable")
    twins = np.flatnonzero(np.diff(hashes[order]) == 0)
    ends = np.cumsum([count for _, count in owners])
    for twin in twins:
        places = [int(np.searchsorted(ends, order[at], side="right")) for at in (twin, twin + 1)]
        parts = sorted({owners[place][0] for place in places})
        tables = [storage.read_table(storage.join(folder, part), ["image_id", "shard"]) for part in parts]
        rows = sorted(row for table in tables for row in zip(*table.to_pydict().values(), strict=True))
        for (one, shard), (other, second) in pairwise(rows):
            if one == other:
                raise DatusError(
                    f"two images have the id {one}, in {shard} and {second}; ids must be unique: choose another "
                    f"--id-column than {columns.image_id}"
                )
