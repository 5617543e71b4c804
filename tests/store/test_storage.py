from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from datus2_ray.errors import MissingFileError, StorageError
from datus2_ray.store import folders, parquet, storage


def test_files_come_back_and_leave_no_halves(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), "a", "b.bin")
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.read_bytes(uri) == b"two"
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["b.bin"]


@pytest.mark.parametrize("call", [folders.list_files, storage.read_bytes, parquet.read_table])
def test_what_is_missing_is_named(tmp_path: Path, call: object) -> None:
    with pytest.raises(StorageError, match="missing") as caught:
        call(str(tmp_path / "missing"))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        storage.write_bytes(str(tmp_path / "file" / "below"), b"")


@pytest.mark.parametrize("name", ["海" * 80 + ".png", "海" * 83 + ".png", "a" * 255])
def test_a_file_may_have_the_longest_name_that_the_file_system_allows(tmp_path: Path, name: str) -> None:
    storage.write_bytes(str(tmp_path / name), b"data")
    assert (tmp_path / name).read_bytes() == b"data"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*folder: .*; check the folder's rights and space"):
        storage.write_bytes(str(tmp_path / "folder"), b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_failed_removal_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Locked(pafs.LocalFileSystem):  # type: ignore[misc]
        def delete_file(self, path: str) -> None:
            raise PermissionError(13, "Permission denied")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pafs, "LocalFileSystem", Locked)
    with pytest.raises(StorageError, match=r"cannot remove .*file: .*Permission denied"):
        storage.remove(str(tmp_path / "file"))


@pytest.mark.parametrize("root", ["{tmp_path}", "memory://there"])
def test_a_file_may_be_missing(tmp_path: Path, root: str) -> None:
    root = root.format(tmp_path=tmp_path)
    storage.write_json(f"{root}/a/there.json", [1])
    parquet.write_table(f"{root}/a/there.parquet", pa.table({"x": [1]}))
    assert storage.if_there(storage.read_json, f"{root}/a/there.json") == [1]
    assert storage.if_there(parquet.read_table, f"{root}/a/there.parquet") == pa.table({"x": [1]})
    for missing in ("a/none", "none/none"):
        assert storage.if_there(storage.read_json, f"{root}/{missing}") is None
        assert storage.if_there(parquet.read_table, f"{root}/{missing}") is None
        storage.remove_file(f"{root}/{missing}")
    storage.remove_file(f"{root}/a/there.json")
    assert not storage.exists(f"{root}/a/there.json")


def test_what_cannot_be_read_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "damaged.parquet").write_bytes(b"no table")
    assert storage.if_there(storage.read_json, str(tmp_path / "damaged.parquet" / "below")) is None
    with pytest.raises(StorageError):
        storage.if_there(storage.read_bytes, str(tmp_path / "folder"))
    with pytest.raises(StorageError):
        storage.if_there(parquet.read_table, str(tmp_path / "damaged.parquet"))
    with pytest.raises(StorageError):
        storage.remove_file(str(tmp_path / "folder"))


def test_a_missing_file_is_told_from_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        storage.read_bytes(str(tmp_path / "none.jpg"))
    with pytest.raises(StorageError) as caught:
        storage.read_bytes(str(tmp_path / "none" / "none.jpg"))
    assert not isinstance(caught.value, MissingFileError)
