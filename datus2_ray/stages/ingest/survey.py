"""Survey: what only all images together can tell: how many have ground truth, its classes, no id twice."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import NOISE_8, decode_labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.errors import DatusError
from datus2_ray.sources import layouts
from datus2_ray.sources.listing import check_counted
from datus2_ray.store import schemas, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Surveyed

#: Parts read at a time when they are summed up.
READ_THREADS = 16


@dataclass(frozen=True)
class SurveyPart:
    """CPU task: survey a part of ``ingest/``; class ids are looked for only where `count_classes` asks for them."""

    folder: str
    count_classes: bool

    def __call__(self, block: pa.Table) -> pa.Table:
        """Hash the ids, note which images have ground truth, and find the largest class id; -1 where there is none."""
        part = block["part"][0].as_py()
        table = storage.read_table(storage.join(self.folder, part), ["image_id", "mask"])
        masks = table["mask"].to_pylist()
        surveyed = {
            "id_hash": [_hash(image_id) for image_id in table["image_id"].to_pylist()],
            "labelled": [mask is not None for mask in masks],
            "largest_class": [self._largest(mask) for mask in masks],
        }
        found = pa.table(surveyed, schema=schemas.SURVEY)
        return found.append_column("part", pa.array([part] * len(found), pa.string()))

    def _largest(self, mask: bytes | None) -> int:
        if mask is None or not self.count_classes:
            return -1
        ids = decode_labels(mask)
        classes = ids[ids < NOISE_8]
        return int(classes.max()) if classes.size else -1


def _hash(image_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    ingested = run.commit(Ingested)
    count_classes = run.listing.labelled and layouts.find(ingested.facts.dataset).class_names is None
    return [Operator(SurveyPart(ingested.uri, count_classes))]


def _facts(run: Run, placement: Placement) -> Surveyed:
    """Sum up all parts; the driver holds 8 bytes per image.

    Raises
    ------
    DatusError
        If two images have the same id.
    """
    ingested = run.commit(Ingested)
    parts = sorted(ingested.parts)
    with ThreadPoolExecutor(READ_THREADS) as threads:
        tables = list(threads.map(lambda part: storage.read_table(placement.path(part)), parts))
    surveyed = pa.concat_tables(tables)
    hashes = surveyed["id_hash"].to_numpy()
    # Ids made from paths are unique by their making; those in a column of shards need not be.
    if run.listing.columns is not None and len(np.unique(hashes)) < len(hashes):
        _name_duplicate(ingested, hashes, run.listing.columns.image_id)
    names = layouts.find(ingested.facts.dataset).class_names
    largest = max(surveyed["largest_class"].to_pylist(), default=-1)
    labelled = sum(surveyed["labelled"].to_pylist())
    # Shards may have a column for masks and nothing in it.
    check_counted(run.config, ingested.facts.dataset, labelled > 0)
    return Surveyed(labelled, tuple(names or (f"class {number}" for number in range(largest + 1))))


def _name_duplicate(ingested: Commit[Ingested], hashes: np.ndarray, id_column: str | None) -> None:
    """Read the two parts that share a hash and raise, unless only the hash of two ids is the same."""
    order = np.argsort(hashes, kind="stable")
    parts = sorted(ingested.parts)
    ends = np.cumsum([ingested.parts[part] for part in parts])
    for twin in np.flatnonzero(np.diff(hashes[order]) == 0):
        places = {parts[int(np.searchsorted(ends, order[at], side="right"))] for at in (twin, twin + 1)}
        tables = [storage.read_table(ingested.path(part), ["image_id", "shard"]) for part in sorted(places)]
        rows = sorted(row for table in tables for row in zip(*table.to_pydict().values(), strict=True))
        for (image_id, shard), (next_id, next_shard) in pairwise(rows):
            if image_id == next_id:
                raise DatusError(
                    f"two images have the id {image_id}, in {shard} and {next_shard}; ids must be unique: choose "
                    f"another --id-column than {id_column}"
                )


def _left_out(prospect: Prospect) -> str | None:
    return None if prospect.labelled or prospect.has_ids else "no ground truth, and ids made from paths"


def _decides(run: Run, device: Any) -> dict[str, Any]:
    return {"labelled": run.listing.labelled}


SURVEY = Stage(
    facts=Surveyed,
    title="Count the images with ground truth and its classes, and compare ids",
    writes={"part-*.parquet": "per image: hash of its id, whether it has ground truth, its largest class id"},
    version=1,
    reads=(Ingested,),
    decides=_decides,
    left_out=_left_out,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(operators=_operators, facts=_facts, parts=lambda run: run.commit(Ingested).parts),
)
