"""Where bytes lie: local paths and ``s3://`` URIs behind ``pyarrow.fs``, the one place that knows the difference."""

from __future__ import annotations

import json
import posixpath
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from datus2_ray.errors import MissingFileError, StorageError
from datus2_ray.store import s3


@dataclass(frozen=True)
class FileEntry:
    """One file below a folder: its relative posix path, its size in bytes and when it was last changed."""

    path: str
    size: int
    modified_ns: int


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Give the file system of a URI and the path within it.

    Parameters
    ----------
    uri : str
        A local path or ``s3://bucket/key``.

    Raises
    ------
    StorageError
        A URI of another scheme, or a bucket that cannot be found.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return pafs.LocalFileSystem(), absolute(uri)
    if scheme != "s3" or not rest.strip("/"):
        raise StorageError(f"{uri} is neither a local path nor s3://BUCKET/KEY")
    try:
        return s3.open_bucket(rest.split("/", 1)[0]), rest.rstrip("/")
    except OSError as error:
        raise StorageError(f"cannot reach {uri}: {_reason(error, uri)}") from error


def absolute(uri: str) -> str:
    """Make a local path independent of links and of the working directory, another on a worker; a URI stays."""
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())


def join(uri: str, *parts: str) -> str:
    """Join a URI and path parts with single slashes."""
    return posixpath.join(uri, *parts)


def list_files(uri: str, recursive: bool = True) -> list[FileEntry]:
    """List every file below a folder, sorted by relative path, without hidden ones (a part that starts with a dot).

    Parameters
    ----------
    uri : str
        The folder.
    recursive : bool
        Whether the files of its folders are listed too.

    Raises
    ------
    StorageError
        The folder does not exist or cannot be read.
    """
    filesystem, root = resolve(uri)
    info = _checked(filesystem.get_file_info, root, uri)
    if info.type != pafs.FileType.Directory:
        found = "is a file, not a folder" if info.type == pafs.FileType.File else "does not exist"
        raise StorageError(f"{uri} {found}; give a folder of images, a data-set root or a run folder")
    listed = _checked(filesystem.get_file_info, pafs.FileSelector(root, recursive=recursive), uri)
    entries = []
    for item in listed:
        try:
            relative = item.path[len(root) :].lstrip("/")
        except UnicodeDecodeError as error:
            name = bytes(error.object).decode(errors="backslashreplace")
            raise StorageError(f"{uri} has a file whose name is not UTF-8, {name}; rename it") from error
        if item.type == pafs.FileType.File and not any(part.startswith(".") for part in relative.split("/")):
            entries.append(FileEntry(relative, item.size or 0, item.mtime_ns or 0))
    return sorted(entries, key=lambda entry: entry.path)


def find_file(uri: str) -> FileEntry | None:
    """Give a file's name, size and time of change; None where there is no such file."""
    filesystem, path = resolve(uri)
    info = _checked(filesystem.get_file_info, path, uri)
    if info.type != pafs.FileType.File:
        return None
    return FileEntry(posixpath.basename(path), info.size or 0, info.mtime_ns or 0)


def is_empty(uri: str) -> bool:
    """Tell whether a folder has nothing in it, or is not there."""
    filesystem, root = resolve(uri)
    if _checked(filesystem.get_file_info, root, uri).type != pafs.FileType.Directory:
        return not exists(uri)
    return not _checked(filesystem.get_file_info, pafs.FileSelector(root), uri)


def exists(uri: str) -> bool:
    """Tell whether a file or folder is there."""
    filesystem, path = resolve(uri)
    return bool(_checked(filesystem.get_file_info, path, uri).type != pafs.FileType.NotFound)


def read_bytes(uri: str) -> bytes:
    """Read a whole file; a missing or unreadable one is a :class:`StorageError` that names it."""
    filesystem, path = resolve(uri)

    def read() -> bytes:
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    try:
        return s3.patiently(read)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        # Where its folder, or the bucket, is gone too, it is not this file alone.
        local = isinstance(filesystem, pafs.LocalFileSystem)
        alone = Path(path).parent.is_dir() if local else "Path does not exist" in str(error)
        kind = MissingFileError if alone else StorageError
        raise kind(f"cannot read {uri}: {_reason(error, uri)}") from error
    except OSError as error:
        raise StorageError(f"cannot read {uri}: {_reason(error, uri)}") from error


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    """Write a whole file so that a reader sees either the old one or the new one, never a part.

    A local file is written beside its place and renamed; an object store's put is atomic by itself.
    """
    filesystem, path = resolve(uri)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    # Readers of a folder of tables pass over names that start with an underscore. The file's own name is no part of
    # it: it may be as long as a name can be.
    target = f"{posixpath.dirname(path)}/_{uuid.uuid4().hex}.tmp" if local else path

    def write() -> None:
        if local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open_output_stream(target) as stream:
            stream.write(data)
        if local:
            Path(target).replace(path)

    try:
        s3.patiently(write)
    except OSError as error:
        remedy = "; check the folder's rights and space" if local else ""
        raise StorageError(f"cannot write {uri}: {_reason(error, uri)}{remedy}") from error


def remove(uri: str) -> None:
    """Remove a file, or a folder and everything in it; what is not there is no error."""
    filesystem, path = resolve(uri)
    kind = _checked(filesystem.get_file_info, path, uri).type
    if kind == pafs.FileType.Directory:
        _checked(filesystem.delete_dir, path, uri)
    elif kind == pafs.FileType.File:
        _checked(filesystem.delete_file, path, uri)


def read_json(uri: str) -> Any:
    """Read a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Write a JSON file, indented, atomically."""
    write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_table(uri: str, columns: list[str] | None = None) -> pa.Table:
    """Read one Parquet file, or only some of its columns."""
    return _parquet(uri, "the table", lambda file: file.read(columns=columns))


def parquet_footer(uri: str) -> pq.FileMetaData:
    """Read the footer of a Parquet file: its schema and its row groups."""
    return _parquet(uri, "the table", lambda file: file.metadata)


def parquet_schema(uri: str) -> pa.Schema:
    """Read the Arrow schema of a Parquet file."""
    schema: pa.Schema = _parquet(uri, "the table", lambda file: file.schema_arrow)
    return schema


def count_rows(uri: str) -> int:
    """Count the rows of a Parquet file from its footer."""
    return int(parquet_footer(uri).num_rows)


def read_row_group(uri: str, row_group: int, columns: list[str]) -> pa.Table:
    """Read some columns of one row group of a Parquet file, and no other bytes of it."""
    return _parquet(uri, f"row group {row_group} of", lambda file: file.read_row_group(row_group, columns=columns))


def _parquet(uri: str, what: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
    filesystem, path = resolve(uri)
    try:
        if isinstance(filesystem, pafs.LocalFileSystem):
            with filesystem.open_input_file(path) as local:
                return read(pq.ParquetFile(local))
        with pa.PythonFile(s3.PatientFile(filesystem, path), mode="r") as file:
            return read(pq.ParquetFile(file))
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(f"cannot read {what} {uri}: {_reason(error, uri)}") from error


def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
    """Write one Parquet file atomically (zstd; the image bytes within are compressed already)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_rows)
    write_bytes(uri, memoryview(sink.getvalue()))


def _checked(call: Any, argument: Any, uri: str) -> Any:
    try:
        return s3.patiently(lambda: call(argument))
    except OSError as error:
        raise StorageError(f"cannot read {uri}: {_reason(error, uri)}") from error


def _reason(error: BaseException, uri: str) -> str:
    if uri.startswith("s3://"):
        return s3.explain(str(error), uri.split("/")[2])
    return str(error).splitlines()[0] if str(error) else type(error).__name__
