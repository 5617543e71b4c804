"""The files that a source names: a folder, one file, a pattern with wildcards, or a text file of paths."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.sources.files import Files
from datus2_ray.sources.paths import Show, quiet
from datus2_ray.sources.text import decode_text
from datus2_ray.store import folders, storage
from datus2_ray.store.walk import FileEntry, PassedOver

#: Suffixes of text files with a path per line, and of archives, which are not read.
LIST_SUFFIXES = (".txt", ".lst", ".list")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")


@dataclass(frozen=True)
class Place:
    """The files of a source.

    Parameters
    ----------
    root : str
        Folder to which the paths of `files` are relative; a local path or URI.
    files : Files
        Sorted by path.
    notes : tuple of str
        What was passed over, a line per kind.
    """

    root: str
    files: Files
    notes: tuple[str, ...]


def find_place(source: str, out: str, show: Show = quiet, compared: Show = quiet) -> Place:
    """Find the files that a source names.

    A pattern has ``*``, ``?``, ``[...]`` or ``**`` for any number of folders; a folder that it matches brings all its
    files. Paths in a text file are absolute, or relative to its folder; empty lines and those with ``#`` are left out.

    Parameters
    ----------
    source, out : str
        Absolute paths or URIs. What lies below `out` is no match of a pattern.
    show : callable
        Called again and again with the number of files since the call before.
    compared : callable
        Called with the number of names whenever some of the files' names were read later.

    Raises
    ------
    UsageError
        If it is an archive, or a pattern or text file that names no file.
    StorageError
        If it does not exist or cannot be read.
    """
    passed_over = PassedOver()
    file = storage.find_file(source)
    if file is not None and (file.size or not storage.is_remote(source)):
        return _of_file(source, file, passed_over, compared)
    if any(wildcard in source for wildcard in "*?[") and not storage.exists(source):
        root, files = _of_pattern(source, out, passed_over, show, compared)
    else:
        root, files = source, Files.of(folders.stream_files(source, passed_over, show), compared)
    return Place(root, files, tuple(passed_over.lines()))


def _of_file(source: str, file: FileEntry, passed_over: PassedOver, compared: Show) -> Place:
    name = source.lower()
    if name.endswith(ARCHIVE_SUFFIXES):
        raise UsageError(f"{source} is an archive; unpack it and give the folder")
    if not name.endswith(LIST_SUFFIXES):
        return Place(source.rpartition("/")[0] or "/", Files.of([file]), ())
    root, files = _of_list(source, passed_over)
    return Place(root, Files.of(files, compared), tuple(passed_over.lines()))


def _of_pattern(source: str, out: str, passed_over: PassedOver, show: Show, compared: Show) -> tuple[str, Files]:
    parts = source.split("/")
    first = next(number for number, part in enumerate(parts) if any(wildcard in part for wildcard in "*?["))
    root, pattern = "/".join(parts[:first]) or "/", parts[first:]
    if not storage.exists(root):
        raise StorageError(f"{root} does not exist, so nothing matches {source}")
    below = f"{out.rstrip('/')}/"
    files = Files.of(
        (
            entry
            for entry in folders.stream_files(root, passed_over, show)
            if _matches(entry.path.split("/"), pattern) and not storage.join(root, entry.path).startswith(below)
        ),
        compared,
    )
    if not files:
        raise UsageError(f"no file matches {source}; ** stands for any number of folders")
    return root, files


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether a pattern matches a path or a folder around it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_matches(path[start:], pattern[1:]) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _of_list(source: str, passed_over: PassedOver) -> tuple[str, list[FileEntry]]:
    try:
        text = decode_text(storage.read_bytes(source))
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is no UTF-8 text of paths, one per line") from error
    folder = source.rpartition("/")[0]
    lines = [_unquoted(line.strip()) for line in text.splitlines()]
    named = [_absolute(line, folder) for line in lines if line and not line.startswith("#")]
    paths = sorted(set(named))
    for path, count in Counter(named).items():
        if count > 1:
            passed_over.add("paths that the list names more than once", path)
    if not paths:
        raise UsageError(f"{source} has no paths in it; give one per line")
    root = _common_folder(source, paths)
    files = []
    for path, entry in zip(
        paths, folders.find_all(root, [path[len(root) :].lstrip("/") for path in paths]), strict=True
    ):
        if entry is None:
            passed_over.add("paths of the list that name no file", path)
        else:
            files.append(entry)
    if not files:
        raise UsageError(f"no path in {source} names a file, of {len(paths):,} such as {paths[0]}; give one per "
                         f"line, absolute or relative to {folder or '/'}")  # fmt: skip
    return root, files


def _unquoted(line: str) -> str:
    """Return a line without the quotes that some programs put around paths."""
    return line[1:-1] if len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" else line


def _absolute(line: str, folder: str) -> str:
    if "://" in line or line.startswith(("/", "~")):
        return storage.absolute(line) if "://" in line or line.startswith("~") else posixpath.normpath(line)
    joined = storage.join(folder, line)
    scheme, separator, path = joined.rpartition("://")
    return f"{scheme}{separator}{posixpath.normpath(path)}"


def _common_folder(source: str, paths: Sequence[str]) -> str:
    """Return the deepest folder around paths that are sorted; UsageError if they lie in several stores."""
    first, last = (path.split("/")[:-1] for path in (paths[0], paths[-1]))
    common = [part for part, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]
    # A path starts with "/", which sorts before the letters of a scheme; a URI has its store in the third part.
    if "://" in paths[-1] and len(common) < 3:
        raise UsageError(f"the paths in {source} lie in several stores; make a list for each")
    return "/".join(common) or "/"
