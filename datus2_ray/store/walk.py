"""The files below a local folder as a stream: each folder once, whatever links there are, and what is passed over."""
# ruff: noqa: PTH118, PTH120 (paths are texts here: a million Path objects take longer than the walk)

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

#: Folders and files that desktops, NAS and archives put beside pictures: thumbnails, deleted files, notes. Names that
#: start with a dot are hidden as well.
SYSTEM_NAMES = frozenset({
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "~snapshot", "$recycle.bin",
    "recycler", "system volume information", "lost+found", "__macosx",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r",
})  # fmt: skip

#: A byte of a name that is not UTF-8, as Python decodes it, and the private character that stands for it in paths:
#: Arrow's and Parquet's texts hold UTF-8 only.
_TO_PRIVATE = {0xDC00 + byte: 0xEF00 + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE = {private: surrogate for surrogate, private in _TO_PRIVATE.items()}


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file below a folder; `path` is relative to the folder and posix, `size` is in bytes."""

    path: str
    size: int
    modified_ns: int


@dataclass
class PassedOver:
    """What a listing met and left out: how much of each kind, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        """Count something that is left out."""
        self.counts[kind] += 1
        self.first.setdefault(kind, path)

    def lines(self) -> list[str]:
        """Return a line per kind: how many, and one of them."""
        return [f"{kind}: {count:,}, for example {self.first[kind]}" for kind, count in self.counts.items()]


def is_system(name: str) -> bool:
    """Return whether a folder or file of this name is hidden, or is made by desktops, NAS or archives."""
    return (name.startswith(".") and name.strip(".") != "") or name.lower() in SYSTEM_NAMES


def local_path(path: str) -> str:
    """Return the path under which the system knows a listed file, with its bytes that are not UTF-8."""
    return path if path.isascii() else path.translate(_FROM_PRIVATE)


def walk(root: str, passed_over: PassedOver) -> Iterator[FileEntry]:
    """Yield the files below a folder, without those of the system, in no order.

    A link to a file counts as a file. A link to a folder is followed after all real folders, unless the folder lies in
    the tree anyway or around the link: so no file comes twice by links to folders, and no loop of links hangs.

    Parameters
    ----------
    root : str
        The folder's real path.
    passed_over : PassedOver
        Gets what is left out: links that lead back, broken links, folders without the right to read them.

    Raises
    ------
    OSError
        If `root` itself, or the disk, cannot be read.
    """
    followed, around = {root}, set(_ancestors(root))
    pending: list[str] = [""]
    links: list[str] = []
    while pending or links:
        if not pending:
            # The outermost first: what another link leads to may lie in it.
            for target, link in sorted((os.path.realpath(os.path.join(root, link)), link) for link in links):
                if target in around:
                    passed_over.add("links to a folder around them", local_name(link))
                elif any(place in followed and _is_met(target, place) for place in _ancestors(target)):
                    passed_over.add("links to folders that are listed at their own place", local_name(link))
                else:
                    followed.add(target)
                    around.update(_ancestors(target))
                    pending.append(link)
            links.clear()
            continue
        folder = pending.pop()
        try:
            scanned = os.scandir(os.path.join(root, folder))
        except PermissionError:
            if not folder:
                raise
            passed_over.add("folders that cannot be read (no permission)", local_name(folder))
            continue
        except FileNotFoundError:  # removed since it was seen
            continue
        with scanned as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if is_system(entry.name):
                    passed_over.add("hidden files and folders, or those of the system", local_name(path))
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                        continue
                    status = entry.stat()
                except FileNotFoundError:
                    if entry.is_symlink():
                        passed_over.add("broken links", local_name(path))
                    continue
                except OSError:
                    if not entry.is_symlink():
                        raise
                    passed_over.add("broken links", local_name(path))  # to itself, or through what cannot be entered
                    continue
                if stat.S_ISDIR(status.st_mode):
                    links.append(path)
                elif stat.S_ISREG(status.st_mode):
                    yield FileEntry(local_name(path), status.st_size, status.st_mtime_ns)
                else:
                    passed_over.add("sockets, pipes and devices", local_name(path))


def local_name(path: str) -> str:
    """Return a path as UTF-8 text, the inverse of :func:`local_path`."""
    return path if path.isascii() else path.translate(_TO_PRIVATE)


def _ancestors(path: str) -> Iterator[str]:
    """Yield a path and all folders around it."""
    yield path
    while (parent := os.path.dirname(path)) != path:
        yield (path := parent)


def _is_met(target: str, place: str) -> bool:
    """Return whether the walk of a place meets a folder below it: nothing on the way is the system's."""
    return not any(is_system(part) for part in target[len(place) :].strip("/").split("/"))
