"""Parquet shards as a source: finding the files and their columns, cutting them into slices, reading a slice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.config.ingest import IngestConfig
from datus2_ray.core.images.decode import IMAGE_SUFFIXES
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.roles import folder_role, is_lesser
from datus2_ray.store import storage
from datus2_ray.store.facts import Sharded
from datus2_ray.store.run_folder import BEGUN, COMMIT, OLD_RUN_FILE, RUN_FILE, RunFolder
from datus2_ray.store.storage import FileEntry

#: Metadata of a shard written by ``datus2 ingest``: the layout that defines the classes, and whether there are masks.
DATASET_KEY, LABELLED_KEY = b"datus2_ray.dataset", b"datus2_ray.labelled"

#: Row groups of more rows are cut: a part is computed as a whole, and again after a crash.
MAX_ROWS = 256

#: Footers read at a time; each is a round trip or two to an object store.
FOOTER_THREADS = 16


@dataclass(frozen=True)
class ShardColumns:
    """Columns of encoded images, ids and encoded masks; a dot leads into a struct.

    Without a column of ids an image is named by its shard and row. ``dataset`` is set in shards of ``datus2 ingest``,
    which have heights and widths, decodable images, and class ids as masks.
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
    """Return the shards among the `files` of a source, sorted by path; empty if it is no folder of shards.

    Where a column is configured, Parquet files count as shards even beside images.

    Raises
    ------
    UsageError
        If an ingest into this folder is not finished, or a column is configured and there is no shard.
    """
    paths = {entry.path for entry in files}
    if RUN_FILE in paths or OLD_RUN_FILE in paths:
        shards = RunFolder(source).find(Sharded)
        if shards is None:
            raise UsageError(f"{source} has no finished shards; run the same `datus2 ingest` again, or give images")
        below = shards.uri[len(source.rstrip("/")) + 1 :]
        return [entry for entry in files if entry.path.startswith(f"{below}/part-")]
    if BEGUN in paths and COMMIT not in paths:
        raise UsageError(f"{source} has shards that are not finished; run the same `datus2 ingest` again")
    column = config.image_column or config.id_column or config.mask_column
    if column is None and any(entry.path.lower().endswith(tuple(IMAGE_SUFFIXES)) for entry in files):
        return []
    tables = [entry for entry in files if entry.path.endswith(".parquet") and not f"/{entry.path}".count("/_")]
    if column is not None and not tables:
        raise UsageError(f"{source} has no Parquet files, so there is no column {column}")
    return tables


def find_columns(source: str, shard: str, config: IngestConfig) -> ShardColumns:
    """Return the configured columns, or else those that fit in a shard.

    The default is ``image`` or the only column of encoded bytes, ``image_id``, and ``mask`` or the only one that is
    called so, such as ``annotation``.

    Raises
    ------
    UsageError
        If a configured column is missing or has another type, or the image column is ambiguous.
    """
    schema = storage.parquet_schema(storage.join(source, shard))
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
    # A column that is called a label map is never taken for images where there are others.
    called = [name for name in encoded if folder_role(name.partition(".")[0]).word]
    if mask is None:
        mask = next((name for name in ("mask", "mask.bytes") if name in encoded), None)
    if mask is None and len(certain := [name for name in called if not is_lesser(name)]) == 1 and len(encoded) > 1:
        mask = certain[0]
    if config.image_column:
        image = named(config.image_column, "--image-column", encoded)
    else:
        others = [name for name in encoded if name != mask]
        candidates = [name for name in others if name not in called] or others
        image = next((name for name in candidates if name in ("image", "image.bytes")), "")
        if not image and len(candidates) != 1:
            raise UsageError(
                f"{source}: which column has the images? give --image-column NAME, one of {', '.join(kinds)}"
            )
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
    """Cut the first `limit` rows of shards into slices of at most a row group, in the order of the shards.

    Raises
    ------
    StorageError
        If a shard cannot be read.
    UsageError
        If a shard has no such column, or is of another data set.
    """

    def read_rows(shard: str) -> list[int]:
        footer = storage.parquet_footer(storage.join(source, shard))
        schema = footer.schema.to_arrow_schema()
        names = {name for field in schema for name, _ in _leaves(field.name, field.type)}
        if (schema.metadata or {}).get(DATASET_KEY) != (columns.dataset.encode() if columns.dataset else None):
            raise UsageError(f"{source}: {shard} and {shards[0]} were not made from the same data set")
        missing = [name for name in (columns.image, columns.image_id, columns.mask) if name and name not in names]
        if missing:
            raise UsageError(f"{source}: the shard {shard} has no column {missing[0]}, unlike {shards[0]}")
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    with ThreadPoolExecutor(FOOTER_THREADS) as threads:
        counts = list(threads.map(read_rows, shards))
    slices, left = [], limit if limit is not None else sum(map(sum, counts))
    for shard, groups in zip(shards, counts, strict=True):
        for group, (rows, first) in enumerate(zip(groups, [0, *np.cumsum(groups)], strict=False)):
            pieces = -(-rows // MAX_ROWS)
            bounds = [rows * piece // pieces for piece in range(pieces + 1)] if rows else []
            for start, stop in pairwise(bounds):
                taken = min(stop - start, left)
                if taken:
                    slices.append(Slice(shard, group, int(first), start, start + taken))
                left -= taken
    return slices


def read_slice(source: str, rows: Slice, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Read columns of a slice."""
    uri = storage.join(source, rows.shard)
    table = storage.read_row_group(uri, rows.row_group, list(columns)).slice(rows.start, rows.stop - rows.start)
    return {name: _column(table, name).to_pylist() for name in columns}


def name_rows(rows: Slice) -> list[str]:
    """Return ids made of shard and row, for shards without a column of ids."""
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
