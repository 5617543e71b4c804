"""What lies in a tree of folders: links, litter, odd names, and how a listing of a million files behaves."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.errors import StorageError
from datus2_ray.store import folders, storage, walk
from datus2_ray.store.walk import PassedOver, local_name, local_path


def make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"data")


def listed(root: Path) -> tuple[list[str], dict[str, int]]:
    passed_over = PassedOver()
    found = [entry.path for entry in folders.stream_files(str(root), passed_over)]
    assert len(found) == len(set(found))
    return sorted(found), dict(passed_over.counts)


def test_links_to_folders_around_them_give_no_copies(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "sub/b.jpg", "sub/deep/c.jpg")
    for link, target in (("x", "."), ("y", "."), ("sub/up", ".."), ("sub/deep/root", "/"), ("self", "self")):
        (tmp_path / link).symlink_to(target)
    files, passed_over = listed(tmp_path)
    assert files == ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg"]
    assert passed_over == {"links to a folder around them": 4, "broken links": 1}


def test_links_between_folders_of_the_tree_are_listed_once(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")
    (tmp_path / "0").symlink_to("b")  # comes before its target
    files, passed_over = listed(tmp_path)
    assert files == ["a/1.jpg", "b/2.jpg"]
    assert passed_over == {"links to folders that are listed at their own place": 3}


def test_links_out_of_the_tree_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "out", "1.jpg", "deep/2.jpg")
    make(tmp_path / "set", "a.jpg", ".store/images/h.jpg")
    for link, target in (("all", "../out"), ("again", "../out"), ("part", "../out/deep"), ("h", ".store/images")):
        (tmp_path / "set" / link).symlink_to(target)
    (tmp_path / "out" / "back").symlink_to("../set")
    files, passed_over = listed(tmp_path / "set")
    assert files == ["a.jpg", "again/1.jpg", "again/deep/2.jpg", "h/h.jpg"]
    assert passed_over["links to a folder around them"] == 2
    assert passed_over["links to folders that are listed at their own place"] == 1


def test_links_to_files_are_files_and_broken_ones_are_counted(tmp_path: Path) -> None:
    make(tmp_path / "store", "1")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").symlink_to("../store/1")
    (tmp_path / "set" / "b.jpg").symlink_to("../store/gone")
    os.mkfifo(tmp_path / "set" / "pipe.jpg")
    files, passed_over = listed(tmp_path / "set")
    assert files == ["a.jpg"]
    assert passed_over == {"broken links": 1, "sockets, pipes and devices": 1}


def test_a_source_that_is_a_link_is_listed(tmp_path: Path) -> None:
    make(tmp_path / "real", "a.jpg")
    (tmp_path / "real" / "self").symlink_to("../link")
    (tmp_path / "link").symlink_to("real")
    assert listed(tmp_path / "link") == (["a.jpg"], {"links to a folder around them": 1})


def test_files_of_desktops_and_nas_are_passed_over(tmp_path: Path) -> None:
    litter = ["@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "sub/@eaDir/b.jpg", "#recycle/c.jpg", ".Trash-1000/files/d.jpg",
              "$RECYCLE.BIN/e.jpg", "System Volume Information/f.jpg", "._a.jpg", "Thumbs.db", "desktop.ini",
              ".DS_Store", "__MACOSX/._g.jpg", "lost+found/h.jpg", "@Recycle/i.jpg", "#snapshot/j.jpg"]  # fmt: skip
    make(tmp_path, "a.jpg", "sub/#1.jpg", "recycle/k.jpg", "@home.jpg", *litter)
    files, passed_over = listed(tmp_path)
    assert files == ["@home.jpg", "a.jpg", "recycle/k.jpg", "sub/#1.jpg"]
    assert passed_over == {"hidden files and folders, or those of the system": len(litter)}


def test_a_folder_that_may_not_be_read_is_named_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "a.jpg", "private/b.jpg", "z/c.jpg")
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).rstrip("/").endswith(name):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    name = "private"
    monkeypatch.setattr(walk.os, "scandir", refuse)  # tests often run as root, who may read everything
    assert listed(tmp_path) == (["a.jpg", "z/c.jpg"], {"folders that cannot be read (no permission)": 1})
    name = tmp_path.name
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}: .*Permission denied"):
        listed(tmp_path)


@pytest.mark.parametrize("name", [b"caf\xe9.jpg", b"\xff\xfe/\x80.jpg", "é海.jpg".encode(), b"a" * 255])
def test_names_that_are_not_utf_8_are_read_like_others(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(b"data")
    (entry,) = folders.list_files(str(tmp_path))
    entry.path.encode()  # tables and JSON hold UTF-8 only
    assert storage.read_bytes(storage.join(str(tmp_path), entry.path)) == b"data"


@given(st.binary(max_size=40))
def test_every_name_has_a_text_of_its_own(name: bytes) -> None:
    text = local_name(os.fsdecode(name))
    text.encode()
    assert os.fsencode(local_path(text)) == name


class Entry:
    """An entry of a folder with more files than a test can make."""

    def __init__(self, number: int) -> None:
        self.name = f"frame-{number:09d}.jpg"

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return False

    def stat(self) -> os.stat_result:
        return os.stat_result((0o100644, 1, 1, 1, 0, 0, 1234, 0, 0, 0))


def test_the_memory_of_a_walk_does_not_grow_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(files: int) -> int:
        monkeypatch.setattr(walk.os, "scandir", lambda path: nullcontext(map(Entry, range(files))))
        tracemalloc.start()
        assert sum(1 for _ in walk.walk(str(tmp_path), PassedOver())) == files
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < peak(1_000) + 10_000


def test_a_long_listing_shows_how_far_it_is_and_can_be_interrupted(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number}").mkdir()
        for file in range(100):
            (tmp_path / f"{number}" / f"{file}.jpg").touch()
    shown: list[int] = []
    assert sum(1 for _ in folders.stream_files(str(tmp_path), show=shown.append)) == 2500
    assert shown == [1000, 1000, 500]

    def interrupt(more: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(folders.stream_files(str(tmp_path), show=interrupt))
