from __future__ import annotations

import os
from pathlib import Path

import pytest

from datus2_ray.errors import StorageError
from datus2_ray.store import folders, storage


def test_listing_is_sorted_relative_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "a.png", "b/.x/3.png", ".hidden", "b/1.png"):
        storage.write_bytes(str(tmp_path / name), b"12345")
    assert [(e.path, e.size) for e in folders.list_files(str(tmp_path))] == [
        ("a.png", 5),
        ("b/1.png", 5),
        ("b/2.png", 5),
    ]


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://names"])
def test_names_are_those_in_the_folder_itself(tmp_path: Path, root: str) -> None:
    root = root.format(tmp_path=tmp_path)
    for name in ("a/b.bin", "a/c/d.bin", "a/.hidden"):
        storage.write_bytes(f"{root}/{name}", b"data")
    assert folders.list_names(f"{root}/a") == {"b.bin", "c"}
    assert folders.list_names(f"{root}/none") == set()


def test_a_name_need_not_be_text(tmp_path: Path) -> None:
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.txt")).write_bytes(b"data")
    (name,) = folders.list_names(str(tmp_path))
    assert [entry.path for entry in folders.list_files(str(tmp_path))] == [name]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        folders.list_files(str(tmp_path / "f"))
    with pytest.raises(StorageError, match="cannot read"):
        folders.list_names(str(tmp_path / "f"))
