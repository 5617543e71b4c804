"""Reading a part of Parquet shards: ids, sizes and masks into ``images/``; the images stay where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from datus2_ray.core.images import decode
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.errors import ImageError
from datus2_ray.sources.layouts.ground_truth import label_map
from datus2_ray.sources.layouts.layout import check_id, quote_id
from datus2_ray.sources.listing import slice_of
from datus2_ray.sources.shards import ShardColumns, Slice, name_rows, read_slice
from datus2_ray.stages.ingest.from_files import check_image
from datus2_ray.store import schemas


@dataclass(frozen=True)
class ReadShard:
    """CPU task: turn a slice of a row group into its rows; `dataset` names the layout of masks in shards of others."""

    source: str
    dataset: str
    columns: ShardColumns
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part; images of unknown origin are decoded once, those of our own shards were at their making."""
        part = block.to_pylist()[0]
        cut = slice_of(part)
        read = self._own(cut) if self.columns.dataset is not None else self._foreign(cut)
        rows, faults = [], []
        for number, (row, fault) in enumerate(read):
            place = {"shard": cut.shard, "row_group": cut.row_group, "row": cut.start + number}
            rows.append({**row, **place})
            faults.append(fault)
        table = pa.Table.from_pylist(rows, schema=schemas.SHARD_IMAGES)
        return with_faults(table.append_column("part", pa.array([part["part"]] * len(rows), pa.string())), faults)

    def _own(self, cut: Slice) -> list[tuple[dict[str, Any], ImageError | None]]:
        names = ["image_id", "height", "width", *(["mask"] if self.columns.mask else [])]
        columns = read_slice(self.source, cut, names)
        return [self._checked_own(dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]

    def _checked_own(self, row: dict[str, Any]) -> tuple[dict[str, Any], ImageError | None]:
        """Check that a row is what `datus2 ingest` would have written: that a file says so of itself proves nothing."""
        try:
            check_id(row["image_id"])
            decode.check_sides(row["height"] or 0, row["width"] or 0)
        except ImageError as fault:
            return {"image_id": quote_id(str(row["image_id"]))}, fault
        try:
            if row.get("mask") is not None:
                label_map(row["mask"], row["height"], row["width"])
        except ImageError as fault:
            return {**row, "mask": None, "mask_fault": str(fault)}, None
        return row, None

    def _foreign(self, cut: Slice) -> list[tuple[dict[str, Any], ImageError | None]]:
        wanted = [name for name in (self.columns.image, self.columns.image_id, self.columns.mask) if name]
        columns = read_slice(self.source, cut, wanted)
        ids = name_rows(cut)
        if self.columns.image_id:
            named = columns[self.columns.image_id]
            ids = [quote_id(str(name)) if name is not None else ids[i] for i, name in enumerate(named)]
        masks = columns[self.columns.mask] if self.columns.mask else [None] * len(ids)
        rows = zip(ids, columns[self.columns.image], masks, strict=True)
        return [self._check(*row) for row in self.heartbeat.through(rows)]

    def _check(
        self, image_id: str, image: bytes | None, mask: bytes | None
    ) -> tuple[dict[str, Any], ImageError | None]:
        try:
            check_id(image_id)
            return {"image_id": image_id, **check_image(image, mask, self.dataset)}, None
        except ImageError as fault:
            return {"image_id": image_id}, fault
