"""Who may work in a run folder: one driver, until it ends, dies, or gives no sign of life."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.lease import LEASE, hold


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def lease(run: str) -> dict[str, Any]:
    kept: dict[str, Any] = storage.read_json(storage.join(run, LEASE))
    return kept


@pytest.fixture
def left(run: str) -> Callable[..., dict[str, Any]]:
    """Return a function that writes the lease of a driver elsewhere."""

    def left(**changes: Any) -> dict[str, Any]:
        kept = {"owner": "other", "command": "run", "host": "elsewhere", "pid": 7, "since": 1.0, "renewed": 1.0}
        kept |= changes
        storage.write_json(storage.join(run, LEASE), kept)
        return kept

    return left


def test_a_second_driver_is_told_who_holds_the_folder_and_since_when(run: str) -> None:
    with hold(run, "pretrain"):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lease(run)["since"]))
        holder = f"`datus2 pretrain` on {socket.gethostname()}, process {os.getpid()}, since {since};"
        with pytest.raises(UsageError, match=re.escape(f"{run} is in use: {holder}")), hold(run, "run"):
            raise AssertionError
        assert lease(run)["command"] == "pretrain"
    assert not storage.exists(storage.join(run, LEASE))
    with hold(run, "run"):
        assert lease(run)["command"] == "run"


def test_an_error_frees_the_folder(run: str) -> None:
    with pytest.raises(KeyboardInterrupt), hold(run, "run"):
        raise KeyboardInterrupt
    assert not storage.exists(storage.join(run, LEASE))


def test_a_dead_process_of_this_host_is_taken_over_at_once(run: str, left: Callable[..., dict[str, Any]]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left(host=socket.gethostname(), pid=process.pid, renewed=time.time())
    start = time.monotonic()
    with hold(run, "run", stale_after=1000):
        assert lease(run)["pid"] == os.getpid()
    assert time.monotonic() - start < 100


def test_a_process_number_that_is_in_use_again_holds_nothing_for_ever(
    run: str, left: Callable[..., dict[str, Any]]
) -> None:
    # After a restart of a container the new driver often has the number of the one that was killed.
    left(host=socket.gethostname(), pid=os.getpid(), renewed=time.time() - 1000)
    with hold(run, "run", stale_after=0.3):
        assert lease(run)["owner"] != "other"


def test_a_holder_elsewhere_that_gives_no_sign_of_life_is_waited_for_and_taken_over(
    run: str, left: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    # Its clock may be hours ahead: only whether the time changes counts.
    left(renewed=time.time() + 10_000)
    start = time.monotonic()
    with hold(run, "run", stale_after=0.3):
        assert time.monotonic() - start > 0.3
        assert lease(run)["owner"] != "other"
    assert capsys.readouterr().err == f"{run} may be in use by elsewhere, process 7; waiting for a sign of life\n"


@pytest.fixture
def renewed(left: Callable[..., dict[str, Any]]) -> Iterator[None]:
    """Let the driver elsewhere renew its lease all the time."""
    ended = threading.Event()

    def renew() -> None:
        moment = 1.0
        while not ended.wait(0.02):
            moment += 1
            left(renewed=moment)

    left()
    thread = threading.Thread(target=renew)
    thread.start()
    yield
    ended.set()
    thread.join()


def test_a_holder_elsewhere_that_renews_its_lease_keeps_it(run: str, renewed: None) -> None:
    with (
        pytest.raises(UsageError, match="is in use: `datus2 run` on elsewhere, process 7"),
        hold(run, "run", stale_after=20),
    ):
        raise AssertionError


def wait_for(reached: Callable[[], bool]) -> None:
    for _ in range(3000):
        if reached():
            return
        time.sleep(0.01)
    raise AssertionError


def test_a_lease_is_renewed_also_after_the_store_was_away(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold(run, "run", renew_every=0.01):
        first = lease(run)["renewed"]
        wait_for(lambda: bool(lease(run)["renewed"] > first))
        refused = []

        def write(uri: str, value: Any) -> None:
            refused.append(uri)
            raise StorageError("away")

        with monkeypatch.context() as patch:
            patch.setattr(storage, "write_json", write)
            wait_for(lambda: len(refused) > 2)
        second = lease(run)["renewed"]
        wait_for(lambda: bool(lease(run)["renewed"] > second))


def test_a_store_that_is_away_is_not_taken_for_a_free_folder(
    run: str, left: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = left()

    def read(uri: str) -> Any:
        raise StorageError("away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "read_json", read)
        with pytest.raises(StorageError, match="away"), hold(run, "run"):
            raise AssertionError
    assert lease(run) == kept


def test_a_store_that_is_away_at_the_end_hides_no_error(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(uri: str) -> Any:
        raise StorageError("away")

    def work() -> None:
        with hold(run, "run"):
            monkeypatch.setattr(storage, "read_json", read)
            raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        work()


def test_a_lease_that_was_taken_over_is_left_to_its_new_holder(
    run: str, left: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(run, "run", renew_every=0.01):
        # Once more: the renewal may just have read the old one.
        wait_for(lambda: left() == lease(run) and "has taken over" in capsys.readouterr().err)
        kept = lease(run)
    assert lease(run) == kept == left()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}'])
def test_a_lease_that_cannot_be_read_holds_nothing(run: str, content: bytes) -> None:
    storage.write_bytes(storage.join(run, LEASE), content)
    with hold(run, "run"):
        assert lease(run)["pid"] == os.getpid()
