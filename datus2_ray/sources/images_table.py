"""The images of a run, whether the run folder has a copy of them or they stay in the shards of the source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from datus2_ray.core.images import decode
from datus2_ray.core.images.rendering import DEFAULT, Rendering
from datus2_ray.errors import StorageError
from datus2_ray.sources.layouts.ids import quote_id
from datus2_ray.sources.shard_columns import ShardColumns
from datus2_ray.sources.shards import Slice, read_slice
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested


@dataclass(frozen=True)
class ImagesTable:
    """Reads parts of the table of images.

    A folder's files are copied into it, since thousands of small files are slow to read repeatedly. Shards are not:
    of most of their images the table has ids, sizes and masks, and the row of each in its shard.

    Parameters
    ----------
    folder : str
        URI of the table.
    source : str or None
        URI of the shards; None if the table has all images itself.
    rendering : Rendering
        How all images of the set become 8-bit RGB.
    """

    folder: str
    source: str | None = None
    rendering: Rendering = DEFAULT

    @staticmethod
    def of(ingested: Commit[Ingested]) -> ImagesTable:
        """Return the table of a run whose images were ingested."""
        facts = ingested.facts
        rendering = Rendering(facts.bands, facts.ranges, facts.max_megapixels, facts.crop)
        return ImagesTable(ingested.uri, facts.kept_in, rendering)

    def decode(self, data: bytes, min_side: int | None = None) -> NDArray[np.uint8]:
        """Decode an image of the table to 8-bit RGB; see :func:`datus2_ray.core.images.decode.decode`."""
        return decode.decode(data, min_side, self.rendering)

    def read(self, part: str, columns: list[str]) -> pa.Table:
        """Read columns of a part, in the order of its rows."""
        uri = storage.join(self.folder, part)
        if self.source is None or "image" not in columns:
            return parquet.read_table(uri, columns)
        table = parquet.read_table(uri)
        missing = pc.is_null(table["image"])
        if pc.any(missing).as_py():
            fetched = self._fetch(table.filter(missing), self.source)
            images = pc.replace_with_mask(table["image"].combine_chunks(), missing.combine_chunks(), fetched)
            table = table.set_column(table.schema.get_field_index("image"), "image", images)
        return table.select(columns)

    def _fetch(self, table: pa.Table, source: str) -> pa.Array:
        """Read the images of a part, which are rows of one row group; those in quarantine are missing in the part."""
        rows = table["row"].to_pylist()
        first = min(rows)
        shard, group, column, id_column = (
            table[name][0].as_py() for name in ("shard", "row_group", "image_column", "id_column")
        )
        columns = ShardColumns(column, id_column, None, None)
        cut = Slice(shard, group, 0, first, max(rows) + 1, False, columns)
        values = read_slice(source, cut, [column, *([id_column] if id_column else [])])
        images = values[column]
        ids = values[id_column] if id_column else [None] * len(images)
        expected = table["image_id"].to_pylist()
        if len(images) < cut.stop - cut.start or not all(
            ids[row - first] is None or image_id in (ids[row - first], quote_id(str(ids[row - first])))
            for row, image_id in zip(rows, expected, strict=True)
        ):
            raise StorageError(
                f"{source}/{cut.shard} is not what it was when the run began; run the same command again"
            )
        return pa.array([images[row - first] for row in rows], pa.binary())
