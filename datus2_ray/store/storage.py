"""Files behind local paths, ``s3://`` and other URIs.

Only this module, :mod:`~datus2_ray.store.folders` and :mod:`~datus2_ray.store.parquet` tell one from the other.
"""

from __future__ import annotations

import json
import os
import posixpath
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from datus2_ray.errors import DatusError, MissingFileError, StorageError
from datus2_ray.store import other, s3
from datus2_ray.store.walk import FileEntry, local_path

T = TypeVar("T")

#: Bytes of a file that are in memory at a time while it is copied.
COPY_BYTES = 8 * 2**20


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
        raise storage_error("reach", uri, error) from error


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


def find_file(uri: str) -> FileEntry | None:
    """Return a file's entry, or None if there is no such file."""
    filesystem, path = resolve(uri)
    info = look_up(filesystem, path, uri)
    if info.type != pafs.FileType.File:
        return None
    return FileEntry(posixpath.basename(path), info.size or 0, info.mtime_ns or 0)


def is_remote(uri: str) -> bool:
    """Return whether a file is in an object store, where each look into it is a request."""
    return not isinstance(resolve(uri)[0], pafs.LocalFileSystem)


def exists(uri: str) -> bool:
    """Return whether there is such a file or folder."""
    filesystem, path = resolve(uri)
    return bool(look_up(filesystem, path, uri).type != pafs.FileType.NotFound)


def if_there(read: Callable[[str], T], uri: str) -> T | None:
    """Return what a function reads of a file, or None if there is no such file, nor its folder.

    In an object store this is one request less than to ask before. Other errors are raised as the function raises them.
    """
    try:
        return read(uri)
    except StorageError as error:
        if is_missing(error):
            return None
        raise


def is_missing(error: StorageError) -> bool:
    """Return whether an error says that a file, or a folder above it, is not there."""
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

    with failing("read", uri):
        try:
            return s3.retry(read)
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            missing = not isinstance(error, PermissionError) and not uri.startswith("s3://")
            file_alone = Path(path).parent.is_dir() if local else missing or "Path does not exist" in str(error)
            raise storage_error("read", uri, error, MissingFileError if file_alone else StorageError) from error


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
        raise storage_error("read", uri, error, MissingFileError if missing else StorageError) from error


def write_bytes(uri: str, data: bytes | memoryview) -> None:
    """Write a whole file so that a reader sees either the old one or the new one, also after a crash or power loss."""
    filesystem, path = resolve(uri)

    def put() -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    with failing("write", uri):
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
        raise storage_error("write", uri, error) from error


def download(uri: str, file: Path) -> None:
    """Copy an object of a bucket into a local file, a piece at a time; OSError if the file cannot be written."""
    _replace(file, _pieces(uri))


def _pieces(uri: str) -> Iterator[bytes]:
    with failing("read", uri), closing(s3.RetryingFile(*resolve(uri))) as source:
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
    kind = look_up(filesystem, path, uri).type
    if kind == pafs.FileType.NotFound:
        return
    delete = filesystem.delete_dir if kind == pafs.FileType.Directory else filesystem.delete_file
    with failing("remove", uri):
        s3.retry(lambda: delete(path))


def remove_file(uri: str) -> None:
    """Remove a file; do nothing if there is none. In an object store this is one request less than :func:`remove`."""
    filesystem, path = resolve(uri)
    with failing("remove", uri), suppress(FileNotFoundError, NotADirectoryError):
        s3.retry(lambda: filesystem.delete_file(path))


def read_json(uri: str) -> Any:
    """Read a JSON file."""
    return json.loads(read_bytes(uri))


def write_json(uri: str, value: Any) -> None:
    """Write an indented JSON file atomically."""
    write_bytes(uri, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def look_up(filesystem: pafs.FileSystem, what: str | pafs.FileSelector, uri: str) -> Any:
    """Ask a file system about a path, or about what a selector selects; raise a StorageError that names the URI."""
    with failing("read", uri):
        return s3.retry(lambda: filesystem.get_file_info(what))


@contextmanager
def failing(verb: str, uri: str, errors: tuple[type[Exception], ...] = (OSError, pa.ArrowInvalid)) -> Iterator[None]:
    """Turn what fails in this block into a StorageError of one line."""
    try:
        yield
    except errors as error:
        raise storage_error(verb, uri, error) from error
    except DatusError:
        raise
    except Exception as error:
        if "://" not in uri or uri.startswith("s3://"):
            raise
        raise storage_error(verb, uri, error) from error  # the stores of fsspec have errors of their own


def storage_error(verb: str, uri: str, error: Exception, kind: type[StorageError] = StorageError) -> StorageError:
    """Return the error of one line for what a store or file system raised."""
    if uri.startswith("s3://"):
        reason = s3.explain(str(error), uri.split("/")[2])
    else:
        reason = " ".join(str(error).splitlines()[0].split()) if str(error).strip() else type(error).__name__
        reason += "; check the folder's rights and space" if verb in ("write", "remove") else ""
    return kind(f"cannot {verb} {uri}: {reason}")
