"""A lease keeps a second driver out of a run folder while a first one works in it.

It is a courtesy, not what keeps tables whole: results lie below their fingerprint and every part is written atomically,
so that two drivers that slip through (an object store has no exclusive create) still mix no tables.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage

LEASE = "_LEASE.json"

#: Seconds between two renewals.
RENEW_EVERY = 10.0

#: Seconds without a renewal after which the holder counts as dead.
STALE_AFTER = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a run folder; times are seconds since the epoch, by the holder's clock."""

    owner: str
    command: str
    host: str
    pid: int
    since: float
    renewed: float

    def is_dead_process(self) -> bool:
        """Return whether the holder was a process of this host that is gone."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


@contextmanager
def hold(run: str, command: str, renew_every: float = RENEW_EVERY, stale_after: float = STALE_AFTER) -> Iterator[None]:
    """Hold the lease of a run folder while the context lasts, renewing it every `renew_every` seconds.

    A lease of a dead process of this host is taken over at once; any other when it has not been renewed for
    `stale_after` seconds, which is waited for.

    Raises
    ------
    UsageError
        If another driver holds the folder and renews its lease.
    StorageError
        If the lease cannot be read or written.
    """
    uri = storage.join(run, LEASE)
    _wait_until_free(uri, run, stale_after)
    now = time.time()
    mine = Holder(uuid.uuid4().hex, command, socket.gethostname(), os.getpid(), now, now)
    storage.write_json(uri, asdict(mine))
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(uri, mine, renew_every, ended), daemon=True, name="lease")
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        with suppress(StorageError):  # a lease that stays is taken over; what ended the work is the error to show
            held = _read(uri)
            if held is not None and held.owner == mine.owner:
                storage.remove_file(uri)


def _read(uri: str) -> Holder | None:
    try:
        kept: dict[str, Any] | None = storage.if_there(storage.read_json, uri)
        return None if kept is None else Holder(**kept)
    except (ValueError, TypeError):
        return None  # written by something else


def _wait_until_free(uri: str, run: str, stale_after: float) -> None:
    """Return when nobody holds the lease; the clock of another host is never compared with this one's."""
    held = _read(uri)
    if held is None or held.is_dead_process():
        return
    started, told = time.monotonic(), False
    while (now := _read(uri)) is not None and now.owner == held.owner:
        # Its process exists, but may be another one with the number of one that was killed.
        alive = now.host == socket.gethostname() and time.time() - now.renewed < stale_after
        if alive or now.renewed != held.renewed:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now.since))
            raise UsageError(
                f"{run} is in use: `datus2 {now.command}` on {now.host}, process {now.pid}, since {since}; wait for "
                "it, stop it, or give another --out"
            )
        if time.monotonic() - started > stale_after:
            return
        if not told:
            print(f"{run} may be in use by {now.host}, process {now.pid}; waiting for a sign of life", file=sys.stderr)
            told = True
        time.sleep(min(1.0, stale_after / 10))


def _renew(uri: str, mine: Holder, every: float, ended: threading.Event) -> None:
    while not ended.wait(every):
        try:
            held = _read(uri)
            if held is not None and held.owner != mine.owner:
                print(f"warning: {held.host}, process {held.pid}, has taken over {uri}", file=sys.stderr)
                return
            storage.write_json(uri, {**asdict(mine), "renewed": time.time()})
        except StorageError:
            continue  # the store is away for a moment; the stages have limits of their own
