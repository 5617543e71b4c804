"""Files behind local paths and ``s3://`` URIs: the only module that tells one from the other (by ``pyarrow.fs``)."""

from __future__ import annotations

import json
import os
import posixpath
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from datus2_ray.errors import MissingFileError, StorageError
from datus2_ray.store import s3

#: Bytes of a file that are in memory at a time while it is copied.
COPY_BYTES = 8 * 2**20


@dataclass(frozen=True)
class FileEntry:
    """A file below a folder; `path` is relative to the folder and posix, `size` is in bytes."""

    path: str
    size: int
    modified_ns: int


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a local path or of ``s3://bucket/key``, and the path within it."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return pafs.LocalFileSystem(), absolute(uri)
    if scheme != "s3" or not rest.strip("/"):
        raise StorageError(f"{uri} is neither a local path nor s3://BUCKET/KEY")
    try:
        return s3.open_bucket(rest.split("/", 1)[0]), rest.rstrip("/")
    except OSError as error:
        raise _storage_error("reach", uri, error) from error


def absolute(uri: str) -> str:
    """Return a local path without links and relative parts, as workers have other working directories; or the URI."""
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().resolve())


def join(uri: str, *parts: str) -> str:
    """Join a URI and path parts with single slashes."""
    return posixpath.join(uri, *parts)


def list_files(uri: str, recursive: bool = True) -> list[FileEntry]:
    """List the files below a folder, sorted by path, without hidden ones (any part starts with a dot)."""
    filesystem, root = resolve(uri)
    info = _info(filesystem, root, uri)
    if info.type != pafs.FileType.Directory:
        fault = "is a file, not a folder" if info.type == pafs.FileType.File else "does not exist"
        raise StorageError(f"{uri} {fault}; give a folder of images, a data-set root or a run folder")
    entries = []
    for item in _info(filesystem, pafs.FileSelector(root, recursive=recursive), uri):
        try:
            relative = item.path[len(root) :].lstrip("/")
        except UnicodeDecodeError as error:
            name = bytes(error.object).decode(errors="backslashreplace")
            raise StorageError(f"{uri} has a file whose name is not UTF-8, {name}; rename it") from error
        if item.type == pafs.FileType.File and not any(part.startswith(".") for part in relative.split("/")):
            entries.append(FileEntry(relative, item.size or 0, item.mtime_ns or 0))
    return sorted(entries, key=lambda entry: entry.path)


def find_file(uri: str) -> FileEntry | None:
    """Return a file's entry, or None if there is no such file."""
    filesystem, path = resolve(uri)
    info = _info(filesystem, path, uri)
    if info.type != pafs.FileType.File:
        return None
    return FileEntry(posixpath.basename(path), info.size or 0, info.mtime_ns or 0)


def is_empty(uri: str) -> bool:
    """Return whether a folder is missing or has nothing in it."""
    filesystem, root = resolve(uri)
    kind = _info(filesystem, root, uri).type
    if kind == pafs.FileType.Directory:
        return not _info(filesystem, pafs.FileSelector(root), uri)
    return bool(kind == pafs.FileType.NotFound)


def exists(uri: str) -> bool:
    """Return whether there is such a file or folder."""
    filesystem, path = resolve(uri)
    return bool(_info(filesystem, path, uri).type != pafs.FileType.NotFound)


def read_bytes(uri: str) -> bytes:
    """Read a whole file.

    Raises
    ------
    MissingFileError
        If this file alone is missing or unreadable.
    StorageError
        If its folder, bucket or store is.
    """
    filesystem, path = resolve(uri)

    def read() -> bytes:
        with filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())

    try:
        return s3.retry(read)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        local = isinstance(filesystem, pafs.LocalFileSystem)
        file_alone = Path(path).parent.is_dir() if local else "Path does not exist" in str(error)
        raise _storage_error("read", uri, error, MissingFileError if file_alone else StorageError) from error
    except OSError as error:
        raise _storage_error("read", uri, error) from error


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    """Write a whole file so that a reader sees either the old one or the new one, also after a crash or power loss."""
    filesystem, path = resolve(uri)

    def put() -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    try:
        if isinstance(filesystem, pafs.LocalFileSystem):
            _replace(Path(path), [data])
        else:
            s3.retry(put)  # an object store's put is atomic by itself
    except OSError as error:
        raise _storage_error("write", uri, error) from error


def write_pieces(uri: str, pieces: Callable[[], Iterable[bytes]]) -> None:
    """Write a file that is too large for the memory, as :func:`write_bytes` does; `pieces` begins anew when called."""
    filesystem, path = resolve(uri)

    def put() -> None:
        with filesystem.open_output_stream(path) as stream:
            for piece in pieces():
                stream.write(piece)

    try:
        if isinstance(filesystem, pafs.LocalFileSystem):
            _replace(Path(path), pieces())
        else:
            s3.retry(put)
    except OSError as error:
        raise _storage_error("write", uri, error) from error


def download(uri: str, file: Path) -> None:
    """Copy an object of a bucket into a local file, a piece at a time; OSError if the file cannot be written."""
    _replace(file, _pieces(uri))


def _pieces(uri: str) -> Iterator[bytes]:
    try:
        with closing(s3.RetryingFile(*resolve(uri))) as source:
            while piece := source.read(COPY_BYTES):
                yield piece
    except OSError as error:
        raise _storage_error("read", uri, error) from error


def _replace(file: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a local file beside its place, bring it to the disk and rename it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Not made of the file's name, which may already have as many bytes as are allowed. Readers of a folder of tables
    # pass over names that start with an underscore.
    temporary = file.with_name(f"_{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove(uri: str) -> None:
    """Remove a file, or a folder and everything in it; do nothing if there is neither."""
    filesystem, path = resolve(uri)
    kind = _info(filesystem, path, uri).type
    if kind == pafs.FileType.NotFound:
        return
    delete = filesystem.delete_dir if kind == pafs.FileType.Directory else filesystem.delete_file
    try:
        s3.retry(lambda: delete(path))
    except OSError as error:
        raise _storage_error("remove", uri, error) from error


def read_json(uri: str) -> Any:
    """Read a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Write an indented JSON file atomically."""
    write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_table(uri: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file, or only some of its columns."""
    return _read_parquet(uri, "the table", lambda file: file.read(columns=columns))


def parquet_footer(uri: str) -> pq.FileMetaData:
    """Read the schema and the row groups of a Parquet file."""
    return _read_parquet(uri, "the table", lambda file: file.metadata)


def parquet_schema(uri: str) -> pa.Schema:
    """Read the Arrow schema of a Parquet file."""
    schema: pa.Schema = _read_parquet(uri, "the table", lambda file: file.schema_arrow)
    return schema


def count_rows(uri: str) -> int:
    """Read the number of rows of a Parquet file."""
    return int(parquet_footer(uri).num_rows)


def read_row_group(uri: str, row_group: int, columns: list[str]) -> pa.Table:
    """Read some columns of one row group of a Parquet file, and no other bytes of it."""
    return _read_parquet(uri, f"row group {row_group} of", lambda file: file.read_row_group(row_group, columns=columns))


def _read_parquet(uri: str, what: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
    filesystem, path = resolve(uri)
    try:
        if isinstance(filesystem, pafs.LocalFileSystem):
            with filesystem.open_input_file(path) as local:
                return read(pq.ParquetFile(local))
        with pa.PythonFile(s3.RetryingFile(filesystem, path), mode="r") as file:
            return read(pq.ParquetFile(file))
    except (OSError, pa.ArrowInvalid) as error:
        raise _storage_error(f"read {what}", uri, error) from error


def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
    """Write a Parquet file atomically, compressed by zstd."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_rows)
    write_bytes(uri, memoryview(sink.getvalue()))


def _info(filesystem: pafs.FileSystem, what: str | pafs.FileSelector, uri: str) -> Any:
    try:
        return s3.retry(lambda: filesystem.get_file_info(what))
    except OSError as error:
        raise _storage_error("read", uri, error) from error


def _storage_error(verb: str, uri: str, error: Exception, kind: type[StorageError] = StorageError) -> StorageError:
    if uri.startswith("s3://"):
        reason = s3.explain(str(error), uri.split("/")[2])
    else:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        reason += "; check the folder's rights and space" if verb in ("write", "remove") else ""
    return kind(f"cannot {verb} {uri}: {reason}")
