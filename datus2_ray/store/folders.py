"""What lies in a folder of any store, and whether a folder can be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow.fs as pafs

from datus2_ray.errors import StorageError
from datus2_ray.store import s3
from datus2_ray.store.bucket_walk import walk_bucket
from datus2_ray.store.storage import failing, is_remote, look_up, resolve
from datus2_ray.store.walk import FileEntry, PassedOver, local_name, walk

#: Files of a list that are asked for at once, and the threads that ask.
FIND_AT_ONCE, FIND_THREADS = 64, 16

#: Files between two calls that show how far a listing is.
SHOW_EVERY = 1000


def list_files(uri: str) -> list[FileEntry]:
    """List the files below a folder, sorted by path, without those that are hidden or the system's."""
    return sorted(stream_files(uri), key=lambda entry: entry.path)


def list_names(uri: str) -> set[str]:
    """List the names of files and folders in a folder, without what lies deeper and what is hidden.

    There are none where the folder is missing. In an object store this is one request for a thousand of them.
    """
    filesystem, root = resolve(uri)
    with failing("read", uri):
        if isinstance(filesystem, pafs.LocalFileSystem):
            with suppress(FileNotFoundError), os.scandir(root) as entries:
                return {local_name(entry.name) for entry in entries if not entry.name.startswith(".")}
            return set()
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
    with failing("read", uri):
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


def is_empty(uri: str) -> bool:
    """Return whether a folder is missing or has nothing in it."""
    filesystem, root = resolve(uri)
    kind = look_up(filesystem, root, uri).type
    if kind == pafs.FileType.Directory:
        return not look_up(filesystem, pafs.FileSelector(root), uri)
    return bool(kind == pafs.FileType.NotFound)


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

    with failing("read", root), ThreadPoolExecutor(FIND_THREADS) as threads:
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
