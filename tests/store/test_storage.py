from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from datus2_ray.errors import MissingFileError, StorageError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import FINISHED, Commit, EventLog, RunFolder, fingerprint


def test_files_come_back_and_leave_no_halves(tmp_path: Path) -> None:
    uri = storage.join(str(tmp_path), "a", "b.bin")
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert storage.read_bytes(uri) == b"two"
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["b.bin"]
    table = pa.table({"x": [1, 2, 3]})
    storage.write_table(storage.join(str(tmp_path), "t.parquet"), table)
    assert storage.read_table(str(tmp_path / "t.parquet")).equals(table)
    assert storage.count_rows(str(tmp_path / "t.parquet")) == 3


def test_listing_is_sorted_relative_and_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "a.png", "b/.x/3.png", ".hidden", "b/1.png"):
        storage.write_bytes(str(tmp_path / name), b"12345")
    assert [(e.path, e.size) for e in storage.list_files(str(tmp_path))] == [
        ("a.png", 5),
        ("b/1.png", 5),
        ("b/2.png", 5),
    ]


@pytest.mark.parametrize("call", [storage.list_files, storage.read_bytes, storage.read_table])
def test_what_is_missing_is_named(tmp_path: Path, call: object) -> None:
    with pytest.raises(StorageError, match="missing") as caught:
        call(str(tmp_path / "missing"))  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_file_is_no_folder_and_a_text_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    with pytest.raises(StorageError, match="is a file, not a folder"):
        storage.list_files(str(tmp_path / "f"))
    with pytest.raises(StorageError, match="cannot read the table"):
        storage.read_table(str(tmp_path / "f"))


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


def test_fingerprint_changes_with_everything_that_matters() -> None:
    base = fingerprint("s", 1, {"a": 1, "b": 2}, ["x"])
    assert base == fingerprint("s", 1, {"b": 2, "a": 1}, ["x"])
    others = [("t", 1, {"a": 1, "b": 2}, ["x"]), ("s", 2, {"a": 1, "b": 2}, ["x"])]
    others += [("s", 1, {"a": 1, "b": 3}, ["x"]), ("s", 1, {"a": 1, "b": 2}, ["y"])]
    assert len({base, *(fingerprint(*other) for other in others)}) == 5


def test_a_stage_counts_only_when_committed(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    assert folder.begin("images", "f") == set()
    storage.write_bytes(folder.path("images", "part-000000.parquet"), b"")
    assert folder.commit_of("images") is None
    with pytest.raises(StorageError, match="is not finished"):
        folder.require("images")
    commit = Commit("f", 2, 1, 1, {"part-000000.parquet": 1}, {"k": [1]})
    folder.finish("images", commit)
    assert folder.require("images") == commit
    storage.write_bytes(folder.path("images", "deeper", "part-000001.parquet"), b"")
    assert folder.begin("images", "f") == {"part-000000.parquet"}
    assert folder.begin("images", "g") == set()
    assert folder.commit_of("images") is None


def test_a_run_never_writes_into_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    source, photos = tmp_path / "source", tmp_path / "photos"
    for folder in (source, photos):
        storage.write_bytes(str(folder / "images" / "a.jpg"), b"precious")
    for out in (source, source / "run", tmp_path, photos):
        with pytest.raises(UsageError, match=r"lie within each other|no run's"):
            RunFolder(str(out)).claim(str(source), "run")
    assert (photos / "images" / "a.jpg").read_bytes() == b"precious"
    run = RunFolder(str(tmp_path / "run"))
    run.claim(str(source), "run")
    run.begin("images", "f")
    run.claim(str(source), "run")  # the same run goes on


def test_a_crash_while_old_output_is_removed_leaves_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(str(tmp_path))
    folder.begin("images", "old")
    folder.finish("images", Commit("old", 1, 1, 0, {"part-000000.parquet": 1}, {}))
    removed = []

    def crash(uri: str) -> None:
        removed.append(uri)
        if uri == folder.path("images"):
            raise KeyboardInterrupt
        Path(uri).unlink(missing_ok=True)

    monkeypatch.setattr(storage, "remove", crash)
    with pytest.raises(KeyboardInterrupt):
        folder.begin("images", "new")
    monkeypatch.undo()
    assert folder.commit_of("images") is None
    assert folder.begin("images", "old") == set()


def test_events_are_appended_by_one_run_after_the_other(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    EventLog(folder).write("begin", stage="a")
    log = EventLog(folder)
    log.write("end", stage="a", seconds=1.5)
    assert [(e["event"], e["stage"]) for e in EventLog(folder).read()] == [("begin", "a"), ("end", "a")]


def test_an_opened_event_is_written_with_the_next_one_or_never(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    log = EventLog(folder)
    log.open("run", seed=0)
    assert not log.grew
    assert not (tmp_path / "events.jsonl").exists()
    log.write("begin", stage="a")
    log.write("end", stage="a", seconds=1.0)
    assert log.grew
    assert [e["event"] for e in EventLog(folder).read()] == ["run", "begin", "end"]


def test_work_on_a_stage_takes_the_marks_of_a_finished_run_away(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    for name in FINISHED:
        storage.write_json(folder.path(name), {})
    folder.begin("images", "f")
    assert not any(storage.exists(folder.path(name)) for name in FINISHED)


def test_each_command_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "out"))
    folder.claim(str(tmp_path / "in"), "ingest")
    folder.claim(str(tmp_path / "in"), "ingest")
    with pytest.raises(UsageError, match="is what `datus2 ingest` made"):
        folder.claim(str(tmp_path / "in"), "run")


def test_a_missing_file_is_told_from_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        storage.read_bytes(str(tmp_path / "none.jpg"))
    with pytest.raises(StorageError) as caught:
        storage.read_bytes(str(tmp_path / "none" / "none.jpg"))
    assert not isinstance(caught.value, MissingFileError)
