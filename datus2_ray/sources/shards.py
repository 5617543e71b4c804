"""Parquet shards as a source: which files they are, where a row's image, id and mask stand, how a slice is read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.config.stages import IngestConfig
from datus2_ray.core.images.decode import IMAGE_SUFFIXES
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.facts import Sharded
from datus2_ray.store.run_folder import BEGUN, COMMIT, OLD_RUN_FILE, RUN_FILE, RunFolder
from datus2_ray.store.storage import FileEntry

#: In a shard's metadata: the data set whose classes its masks hold. Only ``datus2 ingest`` writes it.
DATASET_KEY = b"datus2_ray.dataset"

#: And whether it holds masks at all.
LABELLED_KEY = b"datus2_ray.labelled"

#: Row groups of more rows are cut: a part is what is done at once, and again after a crash.
MOST_ROWS = 256

#: Footers read at a time; each is a round trip or two to an object store.
FOOTER_THREADS = 16


@dataclass(frozen=True)
class ShardColumns:
    """Where the values of a row stand; a dot leads into a struct.

    Parameters
    ----------
    image : str
        Encoded image.
    image_id : str or None
        Its id; None names an image by its shard and row.
    mask : str or None
        Encoded mask, where there is one.
    dataset : str or None
        Data set that ``datus2 ingest`` noted: images are sound, heights and widths are there, masks hold class ids.
    """

    image: str
    image_id: str | None
    mask: str | None
    dataset: str | None


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` to ``stop`` (exclusive) of a row group; ``first`` is the group's first row in its shard."""

    shard: str
    row_group: int
    first: int
    start: int
    stop: int


def find_shards(source: str, files: Sequence[FileEntry], config: IngestConfig) -> list[FileEntry]:
    """Give the shards of a source, sorted by path; none where it is no folder of shards.

    Parameters
    ----------
    source : str
        URI of the source.
    files : sequence of FileEntry
        Everything in it.
    config : IngestConfig
        Where a column is named, shards are meant, whatever else lies there.

    Raises
    ------
    UsageError
        An ingest into this folder was not finished, or a column is named and there is no shard.
    """
    paths = {entry.path for entry in files}
    if RUN_FILE in paths or OLD_RUN_FILE in paths:
        shards = RunFolder(source).find(Sharded)
        if shards is None:
            raise UsageError(f"{source} holds no finished shards; run the same `datus2 ingest` again, or give images")
        below = shards.uri[len(source.rstrip("/")) + 1 :]
        return [entry for entry in files if entry.path.startswith(f"{below}/part-")]
    if BEGUN in paths and COMMIT not in paths:
        raise UsageError(f"{source} holds shards that are not finished; run the same `datus2 ingest` again")
    column = config.image_column or config.id_column or config.mask_column
    if column is None and any(entry.path.lower().endswith(tuple(IMAGE_SUFFIXES)) for entry in files):
        return []
    tables = [entry for entry in files if entry.path.endswith(".parquet") and not f"/{entry.path}".count("/_")]
    if column is not None and not tables:
        raise UsageError(f"{source} holds no Parquet files, so there is no column {column}")
    return tables


def find_columns(source: str, shard: str, config: IngestConfig) -> ShardColumns:
    """Find out from a shard's schema where its values stand.

    Parameters
    ----------
    source : str
        URI of the source.
    shard : str
        Path of one of its shards.
    config : IngestConfig
        The columns that the user names; what is not named is looked for: ``image`` or else the only column of encoded
        bytes, ``image_id``, ``mask``.

    Raises
    ------
    UsageError
        A column that is named is not there or of another type, or no image column is found.
    """
    schema = storage.parquet_footer(storage.join(source, shard)).schema.to_arrow_schema()
    kinds = {name: kind for field in schema for name, kind in _leaves(field.name, field.type)}
    encoded = [name for name, kind in kinds.items() if pa.types.is_binary(kind) or pa.types.is_large_binary(kind)]

    def named(column: str, option: str, allowed: Sequence[str]) -> str:
        for name in (column, f"{column}.bytes"):
            if name in allowed:
                return name
        raise UsageError(f"{source}: {option} {column} is none of {', '.join(allowed) or 'its columns'}; see {shard}")

    texts = [name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    numbers = [name for name, kind in kinds.items() if pa.types.is_integer(kind)]
    mask = named(config.mask_column, "--mask-column", encoded) if config.mask_column else None
    if mask is None:
        mask = next((name for name in ("mask", "mask.bytes") if name in encoded), None)
    if config.image_column:
        image = named(config.image_column, "--image-column", encoded)
    else:
        candidates = [name for name in encoded if name != mask]
        image = next((name for name in candidates if name in ("image", "image.bytes")), "")
        if not image and len(candidates) != 1:
            found = ", ".join(kinds)
            raise UsageError(f"{source}: which column holds the images? --image-column NAME, one of {found}")
        image = image or candidates[0]
    if config.id_column:
        image_id: str | None = named(config.id_column, "--id-column", texts + numbers)
    else:
        image_id = "image_id" if "image_id" in texts else None
    noted = (schema.metadata or {}).get(DATASET_KEY)
    if noted and (schema.metadata or {}).get(LABELLED_KEY) == b"no":
        mask = None
    return ShardColumns(image, image_id, mask, noted.decode() if noted else None)


def cut_shards(source: str, shards: Sequence[str], columns: ShardColumns, limit: int | None) -> list[Slice]:
    """Cut shards into slices of a row group at most, in the order of the paths.

    Parameters
    ----------
    source : str
        URI of the source.
    shards : sequence of str
        Paths of its shards.
    columns : ShardColumns
        What each of them must have.
    limit : int, optional
        Only the first rows.

    Raises
    ------
    StorageError
        A shard cannot be read; the message names it.
    UsageError
        A shard lacks a column.
    """

    def look(shard: str) -> list[int]:
        footer = storage.parquet_footer(storage.join(source, shard))
        schema = footer.schema.to_arrow_schema()
        there = {name for field in schema for name, _ in _leaves(field.name, field.type)}
        if (schema.metadata or {}).get(DATASET_KEY) != (columns.dataset.encode() if columns.dataset else None):
            raise UsageError(f"{source}: {shard} and {shards[0]} were not made from the same data set")
        lacking = [name for name in (columns.image, columns.image_id, columns.mask) if name and name not in there]
        if lacking:
            raise UsageError(f"{source}: the shard {shard} has no column {lacking[0]}, unlike {shards[0]}")
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    with ThreadPoolExecutor(FOOTER_THREADS) as threads:
        counts = list(threads.map(look, shards))
    slices, left = [], limit if limit is not None else sum(map(sum, counts))
    for shard, groups in zip(shards, counts, strict=True):
        for group, (rows, first) in enumerate(zip(groups, [0, *np.cumsum(groups)], strict=False)):
            pieces = -(-rows // MOST_ROWS)
            bounds = [rows * piece // pieces for piece in range(pieces + 1)] if rows else []
            for start, stop in pairwise(bounds):
                taken = min(stop - start, left)
                if taken:
                    slices.append(Slice(shard, group, int(first), start, start + taken))
                left -= taken
    return slices


def read_slice(source: str, rows: Slice, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Read columns of a slice.

    Raises
    ------
    StorageError
        The shard cannot be read; the message names it.
    """
    uri = storage.join(source, rows.shard)
    table = storage.read_row_group(uri, rows.row_group, list(columns)).slice(rows.start, rows.stop - rows.start)
    return {name: _column(table, name).to_pylist() for name in columns}


def name_rows(rows: Slice) -> list[str]:
    """Name the images of a slice by their shard and row, where no column does."""
    stem = rows.shard.removesuffix(".parquet")
    return [f"{stem}/{rows.first + row:06d}" for row in range(rows.start, rows.stop)]


def _leaves(name: str, kind: pa.DataType) -> list[tuple[str, pa.DataType]]:
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [(name, kind)]


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    top, *path = name.split(".")
    column = table[name] if name in table.column_names else table[top].combine_chunks()
    for field in path if name not in table.column_names else []:
        column = column.field(field)
    return column
