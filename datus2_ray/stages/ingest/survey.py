"""Survey: what only all images together can tell: how many have ground truth, its classes, no id twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.classes import count_named, find_classes
from datus2_ray.core.images.label_map import read_label_map
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.progress import say
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.errors import DatusError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.list_source import check_counted
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Surveyed

#: Parts read at a time when they are summed up, and images whose counts are kept before they are added.
READ_THREADS, SUMMED = 16, 4096


@dataclass(frozen=True)
class SurveyPart:
    """CPU task: survey a part of ``ingest/``."""

    folder: str

    def __call__(self, block: pa.Table) -> pa.Table:
        """Hash the ids, note which images have ground truth, and count its ids or colours."""
        part = block["part"][0].as_py()
        table = parquet.read_table(storage.join(self.folder, part), ["image_id", "mask", "mask_fault"])
        masks = table["mask"].to_pylist()
        counts = [None if mask is None else read_label_map(mask).count() for mask in masks]
        surveyed = {
            "id_hash": [_hash(image_id) for image_id in table["image_id"].to_pylist()],
            "labelled": [mask is not None for mask in masks],
            "values": list_column(counts, pa.list_(pa.int64(), 4)),
            "mask_fault": [fault and fault.partition(":")[0] for fault in table["mask_fault"].to_pylist()],
        }
        found = pa.table(surveyed, schema=schemas.SURVEY)
        return found.append_column("part", pa.array([part] * len(found), pa.string()))


def _hash(image_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=8).digest(), "little")


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    return [Operator(SurveyPart(run.commit(Ingested).uri))]


def _facts(run: Run, placement: Placement) -> Surveyed:
    """Sum up all parts; the driver holds 8 bytes per image.

    Raises
    ------
    DatusError
        If two images have the same id.
    UsageError
        If the ground truth has no class ids, or K is to be counted and there are no classes.
    """
    ingested = run.commit(Ingested)
    hashes, labelled, counts, unusable, example = _sum_up(ingested, placement)
    # Ids made from paths are unique by their making; those in a column of shards need not be.
    if run.listing.columns is not None and len(np.unique(hashes)) < len(hashes):
        _name_duplicate(ingested, hashes, run.listing.columns.image_id)
    names, ignored = known.find(ingested.facts.dataset).class_names, run.config.ingest.ignore_id
    found = count_named(counts, names, ignored) if names else find_classes(counts, run.listing.palette, ignored)
    scored = labelled > 0 and found.occurring > 1
    # Shards may have a column for masks and nothing in it, and masks may have one id.
    check_counted(run.config, ingested.facts.dataset, scored)
    surveyed = Surveyed(
        labelled=labelled,
        classes=found.names,
        codes=found.codes,
        by_colour=found.by_colour,
        scored=scored,
        found=found.describe() if labelled else "",
        unusable=unusable,
        example=example,
    )
    say(Surveyed.stage, *surveyed.describe())
    return surveyed


def _sum_up(
    ingested: Commit[Ingested], placement: Placement
) -> tuple[np.ndarray, int, np.ndarray, dict[str, int], str]:
    """Return the hashes of all ids, the images with ground truth, its counts, its faults by kind, and an example."""
    parts = sorted(ingested.parts)
    hashes: list[np.ndarray] = []
    counts = np.empty((0, 4), np.int64)
    waiting: list[np.ndarray] = []
    labelled, unusable, example = 0, Counter[str](), ""
    with ThreadPoolExecutor(READ_THREADS) as threads:
        for part, table in zip(
            parts, threads.map(lambda part: parquet.read_table(placement.path(part)), parts), strict=True
        ):
            hashes.append(table["id_hash"].to_numpy())
            labelled += sum(table["labelled"].to_pylist())
            waiting += [rows for rows in list_arrays(table["values"]) if rows is not None]
            if len(waiting) >= SUMMED:
                counts, waiting = _add(counts, waiting), []
            kinds = table["mask_fault"].drop_null().to_pylist()
            if kinds and not example:
                example = _first_fault(ingested, part)
            unusable.update(kinds)
    return np.concatenate(hashes), labelled, _add(counts, waiting), dict(sorted(unusable.items())), example


def _add(counts: np.ndarray, more: list[np.ndarray]) -> np.ndarray:
    """Return the sum of counts, a row for every id and colour."""
    rows = np.concatenate([counts, *more])
    values, places = np.unique(rows[:, :2], axis=0, return_inverse=True)
    sums = np.zeros((len(values), 2), np.int64)
    np.add.at(sums, places.reshape(-1), rows[:, 2:])
    return np.concatenate([values, sums], axis=1)


def _first_fault(ingested: Commit[Ingested], part: str) -> str:
    rows = parquet.read_table(ingested.path(part), ["image_id", "mask_fault"]).to_pylist()
    return next(f"{row['image_id']}: {row['mask_fault']}" for row in rows if row["mask_fault"])


def _name_duplicate(ingested: Commit[Ingested], hashes: np.ndarray, id_column: str | None) -> None:
    """Read the two parts that share a hash and raise, unless only the hash of two ids is the same."""
    order = np.argsort(hashes, kind="stable")
    parts = sorted(ingested.parts)
    ends = np.cumsum([ingested.parts[part] for part in parts])
    for twin in np.flatnonzero(np.diff(hashes[order]) == 0):
        places = {parts[int(np.searchsorted(ends, order[at], side="right"))] for at in (twin, twin + 1)}
        tables = [parquet.read_table(ingested.path(part), ["image_id", "shard"]) for part in sorted(places)]
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
    config = run.config.ingest
    return {"labelled": run.listing.labelled, "ignored": config.ignore_id, "palette": run.listing.palette}


SURVEY = Stage(
    facts=Surveyed,
    title="Count the images with ground truth and its classes, and compare ids",
    writes={"part-*.parquet": "per image: hash of its id, whether it has ground truth, pixels of its ids or colours"},
    version=3,
    reads=(Ingested,),
    decides=_decides,
    left_out=_left_out,
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(operators=_operators, facts=_facts, parts=lambda run: run.commit(Ingested).parts),
)
