"""Codes: a head describes every segment by the mean code of its patches, whose tokens discover has written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.describe.tokens import mean_tokens
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.engine.uses import IMAGE_TOKENS, part_tasks
from datus2_ray.stages.head.head import left_out
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.facts import Discovered, Encoded, HeadLearned


@dataclass(frozen=True)
class EncodeSegments:
    """CPU task: describe the segments of a part of ``discover/``; `head` is the URI of the head's file."""

    folder: str
    head: str
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the columns of the table, and the part."""
        from datus2_ray.core.head.network import from_bytes  # imports torch, which takes seconds

        head, part = from_bytes(storage.read_bytes(self.head)), block["part"][0].as_py()
        schema = schemas.codes(head.spec.codes)
        copied = [name for name in schema.names if name != "descriptors"]
        table = parquet.read_table(storage.join(self.folder, part), [*copied, "tokens"])
        rows = zip(*(list_arrays(table[name]) for name in ("tokens", "patch_map", "sizes")), strict=True)
        described = []
        for tokens, patch_map, sizes in self.heartbeat.through(list(rows)):
            segments = len(np.asarray(sizes))
            found = mean_tokens(head.encode(tokens), np.asarray(patch_map), segments) if segments else np.empty((0, 0))
            described.append(found)
        descriptors = list_column(described, schema.field("descriptors").type.value_type)
        table = table.select(copied).append_column("descriptors", descriptors).cast(schema)
        return table.append_column("part", pa.array([part] * len(table), pa.string()))


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    learned = run.commit(HeadLearned)
    encode = EncodeSegments(run.commit(Discovered).uri, learned.path(learned.facts.model), heartbeat)
    return [Operator(encode)]


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {}


CODES = Stage(
    facts=Encoded,
    title="Describe every segment by its codes",
    writes={"part-*.parquet": "per image: patch map, sizes of segments, and their mean codes as descriptors"},
    version=1,
    reads=(Discovered, HeadLearned),
    decides=_decides,
    left_out=left_out,
    uses=lambda prospect: [part_tasks(prospect, IMAGE_TOKENS)],
    work=PerPart(
        operators=_operators,
        facts=lambda run, placement: Encoded(),
        parts=lambda run: run.commit(Discovered).parts,
    ),
)
