"""Files behind local paths, ``s3://`` and other URIs: the only module that tells one from the other."""

from __future__ import annotations

import json
import os
import posixpath
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from datus2_ray.errors import DamagedFileError, DatusError, MissingFileError, StorageError
from datus2_ray.store import other, s3
from datus2_ray.store.bucket_walk import walk_bucket
from datus2_ray.store.dictionaries import dictionary_columns
from datus2_ray.store.walk import FileEntry, PassedOver, local_path, walk

T = TypeVar("T")

#: Bytes of a file that are in memory at a time while it is copied.
COPY_BYTES = 8 * 2**20

#: What a damaged Parquet file raises.
DAMAGED = (OSError, ValueError, pa.lib.ArrowException)

#: Files of a list that are asked for at once, and the threads that ask.
FIND_AT_ONCE, FIND_THREADS = 64, 16

#: Files between two calls that show how far a listing is.
SHOW_EVERY = 1000


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a local path, of ``s3://BUCKET/KEY`` or of another URI, and the path within it."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return pafs.LocalFileSystem(), absolute(uri)
    if scheme != "s3":
        return other.open_store(uri.rstrip("/"))
    if not rest.strip("/"):
        raise StorageError(f"{uri} is neither a local path nor s3://BUCKET/KEY")
    try:
        return s3.open_bucket(rest.split("/", 1)[0]), rest.rstrip("/")
    except OSError as error:
        raise _storage_error("reach", uri, error) from error


def absolute(uri: str) -> str:
    """Return a local path without ``~``, links and relative parts, as workers have other working directories.

    ``file://`` becomes a local path, and Hadoop's names of S3 (``s3a://``, ``s3n://``) become ``s3://``; another URI
    stays what it is.
    """
    if uri.startswith(("s3a://", "s3n://")):
        uri = f"s3{uri[3:]}"
    if uri.startswith("file://"):
        host, _, path = uri.removeprefix("file://").partition("/")
        if host not in ("", "localhost"):
            raise StorageError(f"{uri} names the machine {host}; give file:///PATH, or a path that this machine mounts")
        uri = unquote(f"/{path}")
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}://{rest.rstrip('/')}" if separator else str(Path(uri).expanduser().resolve())


def join(uri: str, *parts: str) -> str:
    """Join a URI and path parts with single slashes."""
    return "/".join((uri.rstrip("/"), *parts))


def list_files(uri: str) -> list[FileEntry]:
    """List the files below a folder, sorted by path, without those that are hidden or the system's."""
    return sorted(stream_files(uri), key=lambda entry: entry.path)


def list_names(uri: str) -> set[str]:
    """List the names of files and folders in a folder, without what lies deeper and what is hidden.

    There are none where the folder is missing. In an object store this is one request for a thousand of them.
    """
    filesystem, root = resolve(uri)
    with _failing("read", uri):
        found = _children(filesystem, root, allow_not_found=True)
    return {info.base_name for info in found if not info.base_name.startswith(".")}


def stream_files(
    uri: str,
    passed_over: PassedOver | None = None,
    show: Callable[[int], None] = lambda more: None,
) -> Iterator[FileEntry]:
    """Yield the files below a folder as they are found, in no order, without those that are hidden or the system's.

    Parameters
    ----------
    passed_over : PassedOver, optional
        Gets what is left out.
    show : callable
        Called again and again, also while a store is asked, with the number of files since the call before.

    Raises
    ------
    StorageError
        If there is no such folder, or it cannot be read.
    """
    filesystem, root = resolve(uri)
    passed_over = passed_over or PassedOver()
    with _failing("read", uri):
        info = s3.retry(lambda: filesystem.get_file_info(root))
        local = isinstance(filesystem, pafs.LocalFileSystem)
        # A key without bytes beside keys below it is a marker of a folder.
        marker = not local and info.type == pafs.FileType.File and not info.size and bool(_children(filesystem, root))
        if info.type != pafs.FileType.Directory and not marker:
            fault = "is a file, not a folder" if info.type == pafs.FileType.File else "does not exist"
            fault += " or does not answer" * uri.startswith(("http://", "https://"))
            raise StorageError(f"{uri} {fault}; give a folder of images, a data-set root or a run folder")
        entries = walk(root, passed_over) if local else walk_bucket(
            root, partial(_children, filesystem), passed_over, tick=lambda: show(0)
        )  # fmt: skip
        more = 0
        for entry in entries:
            yield entry
            more += 1
            if more == SHOW_EVERY:
                show(more)
                more = 0
        show(more)


def _children(
    filesystem: pafs.FileSystem, root: str, recursive: bool = False, allow_not_found: bool = False
) -> list[pafs.FileInfo]:
    """Return what is in a folder; transient errors of a store are retried."""
    selector = pafs.FileSelector(root, recursive=recursive, allow_not_found=allow_not_found)
    found: list[pafs.FileInfo] = s3.retry(lambda: filesystem.get_file_info(selector))
    return found


def find_file(uri: str) -> FileEntry | None:
    """Return a file's entry, or None if there is no such file."""
    filesystem, path = resolve(uri)
    info = _info(filesystem, path, uri)
    if info.type != pafs.FileType.File:
        return None
    return FileEntry(posixpath.basename(path), info.size or 0, info.mtime_ns or 0)


def find_all(root: str, paths: Sequence[str]) -> list[FileEntry | None]:
    """Return the entry of each file below a folder, None for those that are no files."""
    filesystem, top = resolve(root)
    chunks = [paths[start : start + FIND_AT_ONCE] for start in range(0, len(paths), FIND_AT_ONCE)]

    def find(chunk: Sequence[str]) -> list[FileEntry | None]:
        asked = [f"{top.rstrip('/')}/{path}" for path in chunk]
        infos = s3.retry(lambda: filesystem.get_file_info(asked))
        return [
            FileEntry(path, info.size or 0, info.mtime_ns or 0) if info.type == pafs.FileType.File else None
            for path, info in zip(chunk, infos, strict=True)
        ]

    with _failing("read", root), ThreadPoolExecutor(FIND_THREADS) as threads:
        return [entry for found in threads.map(find, chunks) for entry in found]


def check_writable(uri: str) -> None:
    """Raise a StorageError if a local folder cannot be made or written; of a store only a write would tell."""
    if is_remote(uri):
        return
    existing = _nearest(uri)
    if not existing.is_dir():
        raise StorageError(f"cannot write {uri}: {existing} is a file; give another folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot write {uri}: {existing} is read-only, or belongs to somebody else; give another folder"
        )


def free_space(uri: str) -> int | None:
    """Return the free bytes of the disk of a local folder, which need not be there yet; None for a store."""
    return None if is_remote(uri) else shutil.disk_usage(_nearest(uri)).free


def _nearest(uri: str) -> Path:
    path = Path(resolve(uri)[1])
    return next(folder for folder in (path, *path.parents) if folder.exists())


def is_remote(uri: str) -> bool:
    """Return whether a file is in an object store, where each look into it is a request."""
    return not isinstance(resolve(uri)[0], pafs.LocalFileSystem)


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


def if_there(read: Callable[[str], T], uri: str) -> T | None:
    """Return what a function reads of a file, or None if there is no such file, nor its folder.

    In an object store this is one request less than to ask before. Other errors are raised as the function raises them.
    """
    try:
        return read(uri)
    except StorageError as error:
        if _is_missing(error):
            return None
        raise


def _is_missing(error: StorageError) -> bool:
    # A file in the place of a folder above is NotADirectoryError.
    return isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)


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
    local = isinstance(filesystem, pafs.LocalFileSystem)

    def read() -> bytes:
        with filesystem.open_input_stream(os.fsencode(local_path(path)) if local else path) as stream:
            return bytes(stream.read())

    with _failing("read", uri):
        try:
            return s3.retry(read)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            missing = not isinstance(error, PermissionError) and not uri.startswith("s3://")
            file_alone = Path(path).parent.is_dir() if local else missing or "Path does not exist" in str(error)
            raise _storage_error("read", uri, error, MissingFileError if file_alone else StorageError) from error


@contextmanager
def read_at(uri: str) -> Iterator[Callable[[int, int], bytes]]:
    """Open a file for reading so many bytes at an offset.

    Raises
    ------
    MissingFileError
        If this file is missing or unreadable.
    StorageError
        If its store is.
    """
    filesystem, path = resolve(uri)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    try:
        with closing(Path(local_path(path)).open("rb") if local else s3.RetryingFile(filesystem, path)) as file:

            def read(offset: int, size: int) -> bytes:
                file.seek(offset)
                return bytes(file.read(size))

            yield read
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        raise _storage_error("read", uri, error, MissingFileError if missing else StorageError) from error


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    """Write a whole file so that a reader sees either the old one or the new one, also after a crash or power loss."""
    filesystem, path = resolve(uri)

    def put() -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    with _failing("write", uri):
        if isinstance(filesystem, pafs.LocalFileSystem):
            _replace(Path(path), [data])
        else:
            s3.retry(put)  # an object store's put is atomic by itself


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
    with _failing("read", uri), closing(s3.RetryingFile(*resolve(uri))) as source:
        while piece := source.read(COPY_BYTES):
            yield piece


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
    with _failing("remove", uri):
        s3.retry(lambda: delete(path))


def remove_file(uri: str) -> None:
    """Remove a file; do nothing if there is none. In an object store this is one request less than :func:`remove`."""
    filesystem, path = resolve(uri)
    with _failing("remove", uri), suppress(FileNotFoundError):
        s3.retry(lambda: filesystem.delete_file(path))


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


def parquet_footer_and_schema(uri: str) -> tuple[pq.FileMetaData, pa.Schema]:
    """Read the footer of a Parquet file, and its schema in Arrow's types."""
    both: tuple[pq.FileMetaData, pa.Schema] = _read_parquet(
        uri, "the table", lambda file: (file.metadata, file.metadata.schema.to_arrow_schema())
    )
    return both


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


def stream_row_group(uri: str, row_group: int, columns: list[str], rows: int) -> Iterator[pa.Table]:
    """Read some columns of one row group of a Parquet file, `rows` at a time, without holding more of it in memory."""
    filesystem, path = resolve(uri)
    local = isinstance(filesystem, pafs.LocalFileSystem)
    with _failing_on_damage(f"read row group {row_group} of", uri):
        remote = None if local else pa.PythonFile(s3.RetryingFile(filesystem, path), mode="r")
        with remote or filesystem.open_input_file(os.fsencode(local_path(path))) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False, buffer_size=COPY_BYTES)
            for batch in parquet.iter_batches(rows, row_groups=[row_group], columns=columns):
                yield pa.Table.from_batches([batch])


def _read_parquet(uri: str, what: str, read: Callable[[pq.ParquetFile], Any]) -> Any:
    filesystem, path = resolve(uri)
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
    write_bytes(uri, memoryview(sink.getvalue()))


def _info(filesystem: pafs.FileSystem, what: str | pafs.FileSelector, uri: str) -> Any:
    with _failing("read", uri):
        return s3.retry(lambda: filesystem.get_file_info(what))


@contextmanager
def _failing(verb: str, uri: str, errors: tuple[type[Exception], ...] = (OSError, pa.ArrowInvalid)) -> Iterator[None]:
    """Turn what fails in this block into a StorageError of one line."""
    try:
        yield
    except errors as error:
        raise _storage_error(verb, uri, error) from error
    except DatusError:
        raise
    except Exception as error:
        if "://" not in uri or uri.startswith("s3://"):
            raise
        raise _storage_error(verb, uri, error) from error  # the stores of fsspec have errors of their own


@contextmanager
def _failing_on_damage(verb: str, uri: str) -> Iterator[None]:
    """Do as :func:`_failing`; where the bytes of the file can be read, the file itself is at fault."""
    try:
        with _failing(verb, uri, DAMAGED):
            yield
    except StorageError as error:
        if _is_missing(error):
            raise
        try:
            with read_at(uri) as read:
                read(0, 1)
        except StorageError:
            raise error from error.__cause__
        raise DamagedFileError(str(error)) from error.__cause__


def _storage_error(verb: str, uri: str, error: Exception, kind: type[StorageError] = StorageError) -> StorageError:
    if uri.startswith("s3://"):
        reason = s3.explain(str(error), uri.split("/")[2])
    else:
        reason = " ".join(str(error).splitlines()[0].split()) if str(error).strip() else type(error).__name__
        reason += "; check the folder's rights and space" if verb in ("write", "remove") else ""
    return kind(f"cannot {verb} {uri}: {reason}")
