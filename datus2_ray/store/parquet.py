"""Parquet files behind any URI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from datus2_ray.errors import DamagedFileError, StorageError
from datus2_ray.store import s3, storage
from datus2_ray.store.walk import local_path

#: What a damaged Parquet file raises.
DAMAGED = (OSError, ValueError, pa.lib.ArrowException)


def read_table(uri: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or only some of its columns."""
    return _read_parquet(uri, "the table", lambda file: file.read(columns=columns))


def read_footer(uri: str) -> pq.FileMetaData:
    """Read the schema and the row groups of a Parquet file."""
    return _read_parquet(uri, "the table", lambda file: file.metadata)


def read_footer_and_schema(uri: str) -> tuple[pq.FileMetaData, pa.Schema]:
    """Read the footer of a Parquet file, and its schema in Arrow's types."""
    both: tuple[pq.FileMetaData, pa.Schema] = _read_parquet(
        uri, "the table", lambda file: (file.metadata, file.metadata.schema.to_arrow_schema())
    )
    return both


def read_schema(uri: str) -> pa.Schema:
    """Read the Arrow schema of a Parquet file."""
    schema: pa.Schema = _read_parquet(uri, "the table", lambda file: file.schema_arrow)
    return schema


def count_rows(uri: str) -> int:
    """Read the number of rows of a Parquet file."""
    return int(read_footer(uri).num_rows)


def read_row_group(uri: str, row_group: int, columns: list[str]) -> pa.Table:
    """Read some columns of one row group of a Parquet file, and no other bytes of it."""
    return _read_parquet(uri, f"row group {row_group} of", lambda file: file.read_row_group(row_group, columns=columns))


def stream_row_group(uri: str, row_group: int, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Read some columns of one row group of a Parquet file, `rows` at a time, without holding more of it in memory."""
    filesystem, path = storage.resolve(uri)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    with _failing_on_damage(f"read row group {row_group} of", uri):
        remote = None if local else pa.PythonFile(s3.RetryingFile(filesystem, path), mode="r")
        with remote or filesystem.open_input_file(os.fsencode(local_path(path))) as file:
            table = pq.ParquetFile(file, pre_buffer=False, buffer_size=storage.COPY_BYTES)
            for batch in table.iter_batches(rows, row_groups=[row_group], columns=columns):
                yield pa.Table.from_batches([batch])


def _read_parquet(uri: str, what: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
    filesystem, path = storage.resolve(uri)
    with _failing_on_damage(f"read {what}", uri):
        if isinstance(filesystem, pafs.LocalFileSystem):
            with filesystem.open_input_file(os.fsencode(local_path(path))) as local:
                return read(pq.ParquetFile(local))
        with pa.PythonFile(s3.RetryingFile(filesystem, path), mode="r") as file:
            return read(pq.ParquetFile(file))


def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
    """Write a Parquet file atomically, compressed by zstd."""
    sink = pa.BufferOutputStream()
    repeated = dictionary_columns(table.schema)
    pq.write_table(table, sink, compression="zstd", use_dictionary=repeated, row_group_size=row_group_rows)
    storage.write_bytes(uri, memoryview(sink.getvalue()))


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that have a dictionary, by their paths in Parquet's schema: all but floats and bytes.

    Dictionary encoding of vectors and encoded images takes half of the time of writing them, and decoding two thirds of
    that of reading; as no value repeats, it saves nothing.
    """
    return [path for field in schema for path in _paths(field.name, field.type)]


def _paths(path: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _paths(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _paths(f"{path}.list.element", kind.value_type)
    elif not (pa.types.is_floating(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        yield path


@contextmanager
def _failing_on_damage(verb: str, uri: str) -> Iterator[None]:
    """Do as :func:`~datus2_ray.store.storage.failing`; where its bytes can be read, the file itself is at fault."""
    try:
        with storage.failing(verb, uri, DAMAGED):
            yield
    except StorageError as error:
        if storage.is_missing(error):
            raise
        try:
            with storage.read_at(uri) as read:
                read(0, 1)
        except StorageError:
            raise error from error.__cause__
        raise DamagedFileError(str(error)) from error.__cause__
