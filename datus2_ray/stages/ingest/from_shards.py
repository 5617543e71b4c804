"""Reading a part of Parquet shards: ids, sizes and masks into ``images/``; the images stay where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from datus2_ray.core.images.opening import check_sides
from datus2_ray.core.images.rendering import Rendering
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.errors import DamagedFileError, ImageError
from datus2_ray.sources.layouts.ground_truth import label_map
from datus2_ray.sources.layouts.ids import check_id, quote_id
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.sources.shards import Slice, name_rows, read_slices, slice_of
from datus2_ray.stages.ingest.from_files import Read, check_image
from datus2_ray.stages.ingest.notes import write_notes
from datus2_ray.store import schemas

#: A row, and why it cannot be used.
Checked = tuple[dict[str, Any], ImageError | None]


@dataclass(frozen=True)
class ReadShard:
    """CPU task: turn slices of a row group into their rows; `dataset` names the layout of masks in shards of others.

    Notes on the images are written below `folder`, that of the result.
    """

    source: str
    dataset: str
    paths: PathReader
    heartbeat: Heartbeat
    rendering: Rendering
    folder: str

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Read the parts of a row group, one after the other.

        Images of unknown origin are decoded once, those of our own shards were at their making. Where the group was
        cut the parts have the images too, so that nobody reads the group again.
        """
        items = block.to_pylist()[0]["slices"]
        cuts = [slice_of(item) for item in items]
        own = cuts[0].columns.dataset is not None
        read = self._own(cuts) if own else self._foreign(cuts)
        for item, cut, checked in zip(items, cuts, read, strict=True):
            rows, faults = [], []
            for number, (row, fault) in enumerate(checked):
                place = {"shard": cut.shard, "row_group": cut.row_group, "row": cut.start + number}
                columns = {"image_column": cut.columns.image, "id_column": cut.columns.image_id}
                rows.append({**row, **place, **columns})
                faults.append(fault)
            write_notes(self.folder, item["part"], rows)
            table = pa.Table.from_pylist(rows, schema=schemas.SHARD_IMAGES)
            named = table.append_column("part", pa.array([item["part"]] * len(rows), pa.string()))
            yield with_faults(named, faults)

    def _own(self, cuts: Sequence[Slice]) -> Iterator[list[Checked]]:
        names = ["image_id", "height", "width", *(["mask"] if cuts[0].columns.mask else [])]
        names += schemas.RANGE if cuts[0].columns.ranges else ()
        # Of other bands than the first three, nothing is known yet.
        names += ["image"] if cuts[0].cut or self.rendering.bands else []
        for cut, columns in self._read(cuts, names):
            if isinstance(columns, ImageError):
                yield [({"image_id": image_id}, columns) for image_id in name_rows(cut)]
                continue
            rows = (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))
            yield [self._checked_own(row, cut.cut) for row in rows]

    def _read(
        self, cuts: Sequence[Slice], names: Sequence[str]
    ) -> Iterator[tuple[Slice, dict[str, list[Any]] | ImageError]]:
        """Yield the columns of every slice, or why the row group cannot be read from there on."""
        left = list(cuts)
        try:
            for columns in read_slices(self.source, cuts, names):
                yield left.pop(0), columns
        except DamagedFileError as error:
            for cut in left:
                yield cut, ImageError("unreadable", str(error))

    def _checked_own(self, row: dict[str, Any], kept: bool) -> Checked:
        """Check that a row is what `datus2 ingest` would have written: that a file says so of itself proves nothing."""
        try:
            check_id(row["image_id"])
            check_sides(row["height"] or 0, row["width"] or 0, self.rendering.max_megapixels)
            if self.rendering.bands:
                whole = replace(self.rendering, crop=None)
                row |= check_image(row["image"], None, self.dataset, whole) | {"mask": row.get("mask")}
        except ImageError as fault:
            return {"image_id": quote_id(str(row["image_id"]))}, fault
        height, width, crop = row["height"], row["width"], self.rendering.crop
        row = {**row, "height": crop or height, "width": crop or width, **({} if kept else {"image": None})}
        try:
            if row.get("mask") is not None:
                read = label_map(row["mask"], height, width)
                row["mask"] = row["mask"] if crop is None else read.crop(crop).encode()
        except ImageError as fault:
            return {**row, "mask": None, "mask_fault": str(fault)}, None
        return row, None

    def _foreign(self, cuts: Sequence[Slice]) -> Iterator[list[Checked]]:
        used = cuts[0].columns
        wanted = [used.image, used.path, used.image_id, used.mask, used.mask_path]
        names = list(dict.fromkeys(name for name in wanted if name))
        for cut, columns in self._read(cuts, names):
            ids = name_rows(cut)
            if isinstance(columns, ImageError):
                yield [({"image_id": image_id}, columns) for image_id in ids]
                continue
            if used.image_id:
                given = columns[used.image_id]
                ids = [quote_id(str(name)) if name is not None else ids[i] for i, name in enumerate(given)]
            nothing = [None] * len(ids)
            values = (columns[name] if name else nothing for name in (used.image, used.path, used.mask, used.mask_path))
            rows = zip(ids, *values, strict=True)
            yield [self._check(cut, *row) for row in self.heartbeat.through(rows)]

    def _check(
        self,
        cut: Slice,
        image_id: str,
        image: Read,
        path: str | None,
        mask: Read,
        mask_path: str | None,
    ) -> Checked:
        try:
            check_id(image_id)
            if isinstance(image, ImageError):
                raise image
            kept = {"image": image} if cut.cut else {}
            if image is None and path:
                image = self.paths.read(cut.shard, path)
                kept = {"image": image}
            truth = self._read_mask(cut, mask_path) if mask is None and mask_path else mask
            return {
                "image_id": image_id,
                **kept,
                **check_image(image, truth, self.dataset, self.rendering, mask_path or ""),
            }, None
        except ImageError as fault:
            return {"image_id": image_id}, fault

    def _read_mask(self, cut: Slice, path: str) -> Read:
        try:
            return self.paths.read(cut.shard, path)
        except ImageError as fault:
            return fault
