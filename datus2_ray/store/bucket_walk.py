"""The files of a store without real folders, as a stream that shows life and can be interrupted."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pyarrow.fs as pafs

from datus2_ray.store.walk import FileEntry, PassedOver, is_system

#: Prefixes that are listed at a time, and the number of them from which one listing of everything takes fewer requests.
THREADS, MAX_PREFIXES = 16, 256

#: Seconds between two signs of life while the store is asked.
TICK_SECONDS = 0.5

Listing = Callable[[str, bool], list[pafs.FileInfo]]


def walk_bucket(root: str, listing: Listing, passed_over: PassedOver, tick: Callable[[], None]) -> Iterator[FileEntry]:
    """Yield the files below a prefix, without those of the system, in no order.

    Parameters
    ----------
    root : str
        ``BUCKET/KEY``.
    listing : callable
        Asks the store for what is below a prefix, given whether also for what is deeper; several threads call it.
    passed_over : PassedOver
        Gets markers of folders (keys without bytes), and keys with a part that is empty, ``.`` or ``..``, which name no
        file for pyarrow.
    tick : callable
        Called again and again while the store is asked.
    """
    (top,) = _ask(listing, [(root, False)], tick)
    folders = [info.path for info in top if info.type == pafs.FileType.Directory]
    if len(folders) > MAX_PREFIXES or any(not _is_readable(path[len(root) + 1 :]) for path in folders):
        # All in one: a prefix such as `images//` cannot be asked for by itself.
        batches = _ask(listing, [(root, True)], tick)
    else:
        batches = _chain(top, _ask(listing, [(folder, True) for folder in folders], tick))
    for batch in batches:
        markers = {info.path for info in batch if info.type == pafs.FileType.Directory}
        for info in batch:
            path = info.path[len(root) + 1 :]
            if info.type != pafs.FileType.File:
                continue
            if not info.size and (info.path in markers or path.endswith("_$folder$")):
                passed_over.add("markers of folders, without bytes", path)
            elif not _is_readable(path):
                passed_over.add("keys with a part that is empty, . or .., which cannot be read; rename them", path)
            elif any(is_system(part) for part in path.split("/")):
                passed_over.add("hidden files and folders, or those of the system", path)
            else:
                yield FileEntry(path, info.size or 0, info.mtime_ns or 0)


def _is_readable(path: str) -> bool:
    return not {"", ".", ".."} & set(path.split("/"))


def _chain(first: list[pafs.FileInfo], rest: Iterator[list[pafs.FileInfo]]) -> Iterator[list[pafs.FileInfo]]:
    yield first
    yield from rest


def _ask(
    listing: Listing, questions: list[tuple[str, bool]], tick: Callable[[], None]
) -> Iterator[list[pafs.FileInfo]]:
    """Yield the answers to questions, in the order in which they come.

    The main thread only waits, so that it can be interrupted; a question that it no longer waits for ends by itself.
    """
    left = deque(questions)
    answers: queue.SimpleQueue[list[pafs.FileInfo] | Exception] = queue.SimpleQueue()

    def work() -> None:
        while left:
            try:
                answers.put(listing(*left.popleft()))
            except IndexError:  # another thread took the last one
                return
            except Exception as error:
                answers.put(error)

    try:
        for _ in range(min(THREADS, len(questions))):
            threading.Thread(target=work, daemon=True).start()
        for _ in questions:
            yield _wait(answers, tick)
    finally:
        left.clear()


def _wait(answers: queue.SimpleQueue[list[pafs.FileInfo] | Exception], tick: Callable[[], None]) -> list[pafs.FileInfo]:
    while True:
        try:
            answer = answers.get(timeout=TICK_SECONDS)
        except queue.Empty:
            tick()
            continue
        if isinstance(answer, Exception):
            raise answer
        return answer
