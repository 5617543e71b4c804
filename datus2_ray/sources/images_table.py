"""The images of a run, whether the run folder has a copy of them or they stay in the shards of the source."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datus2_ray.core.images import decode
from datus2_ray.core.images.rendering import DEFAULT, Rendering
from datus2_ray.errors import StorageError
from datus2_ray.sources.layouts.layout import quote_id
from datus2_ray.sources.shards import Slice, read_slice
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested


@dataclass(frozen=True)
class ImagesTable:
    """Reads parts of the table of images.

    A folder's files are copied into it, since thousands of small files are slow to read repeatedly. Shards are not:
    of their images the table has ids, sizes and masks, and the row of each in its shard.

    Parameters
    ----------
    folder : str
        URI of the table.
    source, image_column, id_column : str or None
        URI of the shards and their columns of images and ids; None if the table has the images itself.
    rendering : Rendering
        How all images of the set become 8-bit RGB.
    """

    folder: str
    source: str | None = None
    image_column: str | None = None
    id_column: str | None = None
    rendering: Rendering = DEFAULT

    @staticmethod
    def of(ingested: Commit[Ingested]) -> ImagesTable:
        """Return the table of a run whose images were ingested."""
        facts = ingested.facts
        kept_in = {} if facts.kept_in is None else asdict(facts.kept_in)
        rendering = Rendering(facts.bands, facts.ranges, facts.max_megapixels)
        return ImagesTable(ingested.uri, **kept_in, rendering=rendering)

    def decode(self, data: bytes, min_side: int | None = None) -> NDArray[np.uint8]:
        """Decode an image of the table to 8-bit RGB; see :func:`datus2_ray.core.images.decode.decode`."""
        return decode.decode(data, min_side, self.rendering)

    def read(self, part: str, columns: list[str]) -> pa.Table:
        """Read columns of a part, in the order of its rows."""
        uri = storage.join(self.folder, part)
        if self.source is None or self.image_column is None or "image" not in columns:
            return storage.read_table(uri, columns)
        table = storage.read_table(uri)
        images = self._fetch(table, self.source, self.image_column) if len(table) else pa.array([], pa.binary())
        return table.append_column("image", images).select(columns)

    def _fetch(self, table: pa.Table, source: str, column: str) -> pa.Array:
        """Read the images of a part, which are rows of one row group; those in quarantine are missing in the part."""
        rows = table["row"].to_pylist()
        first = min(rows)
        cut = Slice(table["shard"][0].as_py(), table["row_group"][0].as_py(), 0, first, max(rows) + 1)
        values = read_slice(source, cut, [column, *([self.id_column] if self.id_column else [])])
        images = values[column]
        ids = values[self.id_column] if self.id_column else [None] * len(images)
        expected = table["image_id"].to_pylist()
        if len(images) < cut.stop - cut.start or not all(
            ids[row - first] is None or image_id in (ids[row - first], quote_id(str(ids[row - first])))
            for row, image_id in zip(rows, expected, strict=True)
        ):
            raise StorageError(
                f"{source}/{cut.shard} is not what it was when the run began; run the same command again"
            )
        return pa.array([images[row - first] for row in rows], pa.binary())
