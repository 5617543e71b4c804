"""A store of fsspec whose requests fail: nothing in it is taken for missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from datus2_ray.errors import StorageError
from datus2_ray.store import folders, parquet, storage


class Busy(MemoryFileSystem):  # type: ignore[misc]
    """Asks by what fsspec has for every store, as most stores do; refuses while `away`."""

    store: dict[str, Any] = {}  # noqa: RUF012 - fsspec keeps files at the class
    pseudo_dirs = [""]  # noqa: RUF012
    away = False
    isfile, isdir, exists = AbstractFileSystem.isfile, AbstractFileSystem.isdir, AbstractFileSystem.exists

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if Busy.away:
            raise OSError("503 slow down")
        found: dict[str, Any] = super().info(path, **options)
        return found


@pytest.fixture
def root() -> Iterator[str]:
    fsspec.register_implementation("memory", Busy, clobber=True)
    storage.write_json("memory://busy[1]/there.json", [1])
    parquet.write_table("memory://busy[1]/there.parquet", pa.table({"x": [1]}))
    yield "memory://busy[1]"
    Busy.away = False
    fsspec.register_implementation("memory", MemoryFileSystem, clobber=True)


@pytest.mark.parametrize(
    "ask",
    [
        lambda root: storage.if_there(storage.read_json, f"{root}/there.json"),
        lambda root: storage.if_there(parquet.read_table, f"{root}/there.parquet"),
        lambda root: storage.remove_file(f"{root}/there.json"),
        folders.list_names,
        folders.list_files,
    ],
)
def test_what_cannot_be_asked_is_not_missing(root: str, ask: Callable[[str], Any]) -> None:
    Busy.away = True
    with pytest.raises(StorageError, match="503 slow down"):
        ask(root)


def test_what_is_there_is_found_and_removed_whatever_its_name(root: str) -> None:
    assert storage.if_there(storage.read_json, f"{root}/there.json") == [1]
    assert storage.if_there(storage.read_json, f"{root}/none.json") is None
    assert folders.list_names(root) == {"there.json", "there.parquet"}
    storage.remove_file(f"{root}/there.json")
    storage.remove_file(f"{root}/there.json")
    assert folders.list_names(root) == {"there.parquet"}
    with pytest.raises(StorageError):
        storage.read_bytes(root)
