"""How functions are compiled by numba, and where the machine code is kept from one process to the next."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite.binding import get_host_cpu_name

Function = TypeVar("Function", bound=Callable[..., Any])

_numba: Any = numba  # whose types do not know all that it has


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, or load what an earlier process compiled.

    numba keeps code beside the source and knows a change by the function's own file. That is not enough here: functions
    call those of other files, whose code they carry; the package may lie where nobody may write; and machines of
    several kinds may share it. So the folder is chosen here, and named by all sources and the kind of processor.
    """
    kept = _numba.config.CACHE_DIR
    _numba.config.CACHE_DIR = str(code_folder())
    try:
        made: Function = _numba.njit(cache=True, nogil=True)(function)
    finally:
        _numba.config.CACHE_DIR = kept
    return made


@cache
def code_folder() -> Path:
    """Give the folder: below ``NUMBA_CACHE_DIR`` where that is set, else the user's cache, else a temporary one."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    stamp = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    name = f"datus2-{stamp}-{get_host_cpu_name()}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    given = _numba.config.CACHE_DIR
    for folder in (Path(given) if given else home, Path(tempfile.gettempdir())):
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder / name, os.W_OK):
            return folder / name
    return Path(tempfile.mkdtemp(prefix=name))
