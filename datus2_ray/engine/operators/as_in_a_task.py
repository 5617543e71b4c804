"""Work in the driver as a task of Ray would: with one thread, whose number may decide bits, and without a word."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

T = TypeVar("T")


def as_in_a_task(items: Iterator[T]) -> Iterator[T]:
    """Yield items, each computed with one thread, without warnings and without messages of libraries."""
    while True:
        # One after the other: the limits are set where they are made.
        with _one_thread(), threadpool_limits(limits=1), warnings.catch_warnings(), silence():
            warnings.simplefilter("ignore")
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread, also where it is imported only now."""
    given, torch = os.environ.get("OMP_NUM_THREADS"), sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)
        if given is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = given


@contextmanager
def silence() -> Iterator[None]:
    """Drop what is written to the standard error, by libraries in C as well."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
