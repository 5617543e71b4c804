"""Parquet shards as a source: finding the files and their columns, cutting them into slices, reading a slice."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.config.ingest import IngestConfig
from datus2_ray.core.images.sniff import IMAGE_SUFFIXES
from datus2_ray.errors import DamagedFileError, StorageError, UsageError
from datus2_ray.sources.files import Files
from datus2_ray.sources.paths import Show, quiet
from datus2_ray.sources.pixel_lists import to_python
from datus2_ray.sources.shard_columns import ShardColumns, encoded_among, find_columns, kinds_of
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Sharded
from datus2_ray.store.run_folder import BEGUN, COMMIT, OLD_RUN_FILE, RUN_FILE, RunFolder
from datus2_ray.store.walk import FileEntry

#: Row groups of more rows, or of more bytes, are cut: a part is computed as a whole, and again after a crash.
MAX_ROWS, MAX_BYTES = 256, 256 * 10**6

#: Rows of a row group that are decompressed at a time where it is cut.
STREAMED_ROWS = 16

#: Footers read at a time; each is a round trip or two to an object store.
FOOTER_THREADS = 16


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` to ``stop`` (exclusive) of a row group; ``first`` is the group's first row in its shard.

    ``cut`` is whether the group has more slices: they are read in one pass, once.
    """

    shard: str
    row_group: int
    first: int
    start: int
    stop: int
    cut: bool
    columns: ShardColumns


def slice_of(payload: dict[str, Any]) -> Slice:
    """Return the slice of a part of shards."""
    kept = {name: payload[name] for name in Slice.__dataclass_fields__}
    return Slice(**{**kept, "columns": ShardColumns(**payload["columns"])})


def find_shards(source: str, files: Files, config: IngestConfig) -> list[FileEntry]:
    """Return the shards among the `files` of a source, sorted by path; empty if it is no folder of shards.

    Beside pictures, Parquet files count as shards if they have more rows with images than there are pictures, or where
    a column is configured.

    Raises
    ------
    UsageError
        If an ingest into this folder is not finished, or a column is configured and there is no shard.
    """
    marks = {RUN_FILE, OLD_RUN_FILE, BEGUN, COMMIT}.intersection(files.paths)
    if marks & {RUN_FILE, OLD_RUN_FILE}:
        shards = RunFolder(source).find(Sharded)
        if shards is None:
            raise UsageError(f"{source} has no finished shards; run the same `datus2 ingest` again, or give images")
        below = shards.uri[len(source.rstrip("/")) + 1 :]
        return [entry for entry in files if entry.path.startswith(f"{below}/part-")]
    if BEGUN in marks and COMMIT not in marks:
        raise UsageError(f"{source} has shards that are not finished; run the same `datus2 ingest` again")
    column = config.image_column or config.id_column or config.mask_column
    at = [number for number, path in enumerate(files.paths) if _is_table(path)]
    if column is not None and not at:
        raise UsageError(f"{source} has no Parquet files, so there is no column {column}")
    tables = [files[number] for number in at]
    pictures = sum(map(is_picture, files.paths)) if tables and column is None else 0
    return [] if pictures and not _has_more_rows(source, [entry.path for entry in tables], pictures) else tables


def is_picture(path: str) -> bool:
    """Return whether a path has the suffix of an image."""
    return path.lower().endswith(tuple(IMAGE_SUFFIXES))


def _is_table(path: str) -> bool:
    return path.lower().endswith(".parquet") and "/_" not in f"/{path}"


def _has_more_rows(source: str, tables: Sequence[str], count: int) -> bool:
    """Return whether tables with a column that may hold images have more than `count` rows."""
    for table in tables:
        try:
            footer, schema = parquet.read_footer_and_schema(storage.join(source, table))
        except StorageError:  # beside pictures it need not be a shard
            continue
        if encoded_among(kinds_of(schema)):
            count -= footer.num_rows
        if count < 0:
            return True
    return False


def cut_shards(
    source: str,
    shards: Sequence[str],
    config: IngestConfig,
    limit: int | None,
    labelled: bool = True,
    damaged: dict[str, str] | None = None,
    opened: Show = quiet,
) -> list[Slice]:
    """Cut the first `limit` rows of shards into slices of at most a row group, in the order of the shards.

    Every shard has columns of its own: files of one set need not have the same. One without any that may hold images,
    such as a table of captions, has no slices. Masks are left out unless `labelled`. `damaged` gets the shards whose
    footers cannot be read, and why; `opened` is called with the number of footers read since the call before.

    Raises
    ------
    StorageError
        If no shard can be read, or the store cannot.
    UsageError
        If a shard has no such column, or is of another data set; if no shard has images or a mask that is asked for.
    """

    def read_groups(shard: str) -> tuple[ShardColumns | None, list[tuple[int, int]]] | DamagedFileError:
        try:
            footer, schema = parquet.read_footer_and_schema(storage.join(source, shard))
        except DamagedFileError as error:
            return error
        if not encoded_among(kinds_of(schema)):
            return None, []
        columns = find_columns(source, shard, schema, config)
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        if any(group.num_rows < 0 for group in groups) or sum(group.num_rows for group in groups) != footer.num_rows:
            return DamagedFileError(f"cannot read {source}/{shard}: its row groups have other rows than it")
        return columns, [(group.num_rows, group.total_byte_size) for group in groups]

    with ThreadPoolExecutor(FOOTER_THREADS) as threads:
        answers = {}
        for shard, answer in zip(shards, threads.map(read_groups, shards), strict=True):
            answers[shard] = answer
            opened(1)
    faults = {shard: answer for shard, answer in answers.items() if isinstance(answer, DamagedFileError)}
    read = {shard: answer for shard, answer in answers.items() if not isinstance(answer, DamagedFileError)}
    if not read:
        others = f"; nor can {len(faults) - 1} more Parquet files of {source}" if len(faults) > 1 else ""
        raise StorageError(f"{next(iter(faults.values()))}{others}; copy or write them again")
    if damaged is not None:
        damaged |= {shard: str(fault) for shard, fault in faults.items()}
    found = {shard: columns for shard, (columns, _) in read.items() if columns is not None}
    if not found:
        shard = next(iter(read))
        find_columns(source, shard, parquet.read_schema(storage.join(source, shard)), config)
    if config.mask_column and not any(columns.mask for columns in found.values()):
        raise UsageError(f"{source}: no shard has a column {config.mask_column} of encoded masks; see {shards[0]}")
    first_shard = next(iter(found))
    other = next((shard for shard in found if found[shard].dataset != found[first_shard].dataset), None)
    if other is not None:
        raise UsageError(f"{source}: {other} and {first_shard} were not made from the same data set")
    slices, left = [], limit if limit is not None else sum(rows for _, groups in read.values() for rows, _ in groups)
    for shard, (_, groups) in read.items():
        firsts = [0, *np.cumsum([rows for rows, _ in groups])]
        for group, ((rows, size), first) in enumerate(zip(groups, firsts, strict=False)):
            pieces = min(rows, max(-(-rows // MAX_ROWS), -(-size // MAX_BYTES)))
            bounds = [rows * piece // pieces for piece in range(pieces + 1)] if rows else []
            columns = found[shard] if labelled else replace(found[shard], mask=None, mask_path=None)
            for start, stop in pairwise(bounds):
                taken = min(stop - start, left)
                if taken:
                    slices.append(Slice(shard, group, int(first), start, start + taken, pieces > 1, columns))
                left -= taken
    return slices


def read_slice(source: str, rows: Slice, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Read columns of a slice."""
    (values,) = read_slices(source, [rows], columns)
    return values


def read_slices(source: str, slices: Sequence[Slice], columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Read columns of slices of one row group, in their order, in one pass; of a group that is cut, a few rows a time.

    Raises
    ------
    StorageError
        If the shard cannot be read, or the row group has fewer rows than when it was cut.
    """
    shard, group = slices[0].shard, slices[0].row_group
    uri, names = storage.join(source, shard), list(columns)
    if not slices[0].cut:
        tables = iter([parquet.read_row_group(uri, group, names)])
    else:
        tables = parquet.stream_row_group(uri, group, names, STREAMED_ROWS)
    waiting, held, position = list(slices), list[pa.Table](), 0
    for table in tables:
        while waiting and waiting[0].start < position + len(table):
            start = max(waiting[0].start, position)
            held.append(table.slice(start - position, waiting[0].stop - start))
            if waiting[0].stop > position + len(table):
                break
            waiting.pop(0)
            whole, held = pa.concat_tables(held), []
            yield {name: to_python(_column(whole, name)) for name in columns}
        position += len(table)
        if not waiting:
            return
    raise DamagedFileError(
        f"{uri} is not what it was when the run began, or damaged: row group {group} has fewer rows than its footer "
        "says; run the same command again, or write the file again"
    )


def name_rows(rows: Slice) -> list[str]:
    """Return ids made of shard and row, for shards without a column of ids."""
    stem = posixpath.splitext(rows.shard)[0]
    return [f"{stem}/{rows.first + row:06d}" for row in range(rows.start, rows.stop)]


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    top, *path = name.split(".")
    return table[name] if name in table.column_names else pc.struct_field(table[top], path)
