"""The images of a run wherever their bytes lie: in ``images/`` itself, or still in the shards that they came in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from datus2_ray.errors import StorageError
from datus2_ray.sources.layouts.layout import quote_id
from datus2_ray.sources.shards import Slice, read_slice
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested


@dataclass(frozen=True)
class ImagesTable:
    """Reads parts of ``images/``.

    A folder's files are copied into it, since thousands of small files are slow to read again and again. Shards are
    not: of their images it holds the ids, sizes and masks, and where each one stands.

    Parameters
    ----------
    folder : str
        URI of ``images/``.
    source : str or None
        URI of the source where its shards keep the images.
    image_column : str or None
        Column of the shards that holds them.
    id_column : str or None
        Column that holds their ids, if any.
    """

    folder: str
    source: str | None = None
    image_column: str | None = None
    id_column: str | None = None

    @staticmethod
    def of(ingested: Commit[Ingested]) -> ImagesTable:
        """Return the table of a run whose images were ingested."""
        kept_in = ingested.facts.kept_in
        return ImagesTable(ingested.uri) if kept_in is None else ImagesTable(ingested.uri, **asdict(kept_in))

    def read(self, part: str, columns: list[str]) -> pa.Table:
        """Read columns of a part, in the order of its rows.

        Raises
        ------
        StorageError
            The part, or the shard that keeps its images, cannot be read.
        """
        uri = storage.join(self.folder, part)
        if self.source is None or self.image_column is None or "image" not in columns:
            return storage.read_table(uri, columns)
        table = storage.read_table(uri)
        images = self._fetch(table, self.source, self.image_column) if len(table) else pa.array([], pa.binary())
        return table.append_column("image", images).select(columns)

    def _fetch(self, table: pa.Table, source: str, column: str) -> pa.Array:
        """Read the images of a part, which all stand in one row group, some perhaps not in it: in quarantine."""
        rows = table["row"].to_pylist()
        first = min(rows)
        cut = Slice(table["shard"][0].as_py(), table["row_group"][0].as_py(), 0, first, max(rows) + 1)
        found = read_slice(source, cut, [column, *([self.id_column] if self.id_column else [])])
        images, ids = found[column], found.get(self.id_column or "")
        if len(images) < cut.stop - cut.start or (
            ids and not self._same(ids, table["image_id"].to_pylist(), rows, first)
        ):
            raise StorageError(
                f"{source}/{cut.shard} is not what it was when the run began; run the same command again"
            )
        return pa.array([images[row - first] for row in rows], pa.binary())

    @staticmethod
    def _same(found: list[Any], ids: list[str], rows: list[int], first: int) -> bool:
        """Compare ids with those of a shard; where one was null the image has another name."""
        there = [found[row - first] for row in rows]
        return all(
            name is None or image_id in (name, quote_id(str(name))) for name, image_id in zip(there, ids, strict=True)
        )
