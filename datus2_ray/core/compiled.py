"""Compile functions by numba, and keep the machine code from one process to the next."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite.binding import get_host_cpu_name
from numba.core.caching import InTreeCacheLocator, UserWideCacheLocator

#: Seconds without use after which a folder of machine code is deleted.
MAX_AGE = 30 * 24 * 3600

Function = TypeVar("Function", bound=Callable[..., Any])

_numba: Any = numba  # its type stubs lack `config`


def compiled(function: Function) -> Function:
    """Compile a function at its first call, or load what an earlier process compiled.

    numba itself keeps code beside the source and compares the function's own file only. Here compiled functions call
    those of other files, whose code they include; the package may be installed where nobody may write; and machines of
    several kinds may share it. So the folder is chosen by :func:`code_folder`.
    """
    users_choice = _numba.config.CACHE_LOCATOR_CLASSES
    # The second where the folder, though made, cannot be written to.
    _numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{ByModule.__name__},{UserWideCacheLocator.__name__}"
    try:
        dispatcher: Function = _numba.njit(cache=True, nogil=True)(function)
    finally:
        _numba.config.CACHE_LOCATOR_CLASSES = users_choice
    return dispatcher


class ByModule(InTreeCacheLocator):
    """Names the folder of a function's code by its module, not by where that lies.

    Every job of Ray that brings the package along unpacks it in a folder of its own, and would compile everything anew.
    """

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        super().__init__(function, file)  # type: ignore[no-untyped-call]
        self._cache_path = str(code_folder() / function.__module__)

    def get_source_stamp(self) -> str:
        """Return what changes with the sources; numba itself may take the time at which the file was written."""
        return code_folder().name


def frozen(array: Any) -> Any:
    """View an array as contiguous and read-only, as those that come from Ray are: one kind of array, one compilation.

    One that is not contiguous is copied.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@cache
def code_folder() -> Path:
    """Return the folder of machine code, named by the sources of all compiled functions and the kind of processor.

    It lies in ``NUMBA_CACHE_DIR`` if that is set, else in the user's cache, else in the temporary directory. numba
    unpickles what it finds there, so a folder that others could have written to is not used but replaced by a new one.
    Folders of this name that were not used for :data:`MAX_AGE` are deleted.
    """
    name = f"datus2-{_hash_of_sources()}-{get_host_cpu_name()}"
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for parent in (_numba.config.CACHE_DIR or user_cache, tempfile.gettempdir()):
        try:
            folder = Path(parent).expanduser() / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_private(folder):
                os.utime(folder)
                _delete_unused(folder.parent)
                return folder
        except (OSError, RuntimeError):  # RuntimeError: a user without a home, as in containers
            continue
    return Path(tempfile.mkdtemp(prefix=name))


def _hash_of_sources() -> str:
    sources = [source.read_bytes() for source in sorted(Path(__file__).parent.rglob("*.py"))]
    jitted = [source for source in sources if b"\n@compiled\n" in source]
    return hashlib.sha256(b"\0".join([Path(__file__).read_bytes(), *jitted])).hexdigest()[:16]


def _is_private(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def _delete_unused(parent: Path) -> None:
    for folder in parent.glob("datus2-" + 16 * "[0-9a-f]" + "-*"):
        with suppress(FileNotFoundError):  # another process that starts at the same time may delete it first
            found = folder.lstat()
            if found.st_uid == os.getuid() and found.st_mtime < time.time() - MAX_AGE:
                shutil.rmtree(folder, ignore_errors=True)
