from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit, fingerprint
from datus2_ray.store.facts import Clustered, Ingested
from datus2_ray.store.run_folder import FINISHED, OLD_RUN_FILE, RUN_FILE, RunFolder

PART = "part-000000.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path / "run"))
    folder.claim(str(tmp_path / "in"), "run")
    return folder


def finished(folder: RunFolder, stamp: str = "0123456789abcdef", **facts: object) -> Commit[Ingested]:
    folder.begin("ingest", stamp, {})
    commit = Commit(folder.result("ingest", stamp), stamp, 2, 1, 1, {PART: 1}, Ingested("folder", **facts))
    folder.commit(commit)
    return commit


def test_fingerprint_changes_with_everything_that_matters() -> None:
    base = fingerprint("discover", 1, {"tau": 5}, {"ingest": "a"})
    assert base == fingerprint("discover", 1, {"tau": 5}, {"ingest": "a"})
    others = [
        fingerprint("label", 1, {"tau": 5}, {"ingest": "a"}),
        fingerprint("discover", 2, {"tau": 5}, {"ingest": "a"}),
        fingerprint("discover", 1, {"tau": 3}, {"ingest": "a"}),
        fingerprint("discover", 1, {"tau": 5}, {"ingest": "b"}),
    ]
    assert len({base, *others}) == 5


def test_a_stage_counts_only_when_committed_and_current(folder: RunFolder) -> None:
    with pytest.raises(StorageError, match="ingest is not finished"):
        folder.require(Ingested)
    assert folder.begin("ingest", "0123456789abcdef", {}) == set()
    assert folder.find(Ingested, "0123456789abcdef") is None
    commit = finished(folder, kept_in="s3://b/x")
    assert folder.find(Ingested) is None
    folder.set_current({"ingest": commit.fingerprint})
    assert folder.require(Ingested) == commit
    storage.write_bytes(commit.path(PART), b"")
    storage.write_bytes(commit.path("deeper", "part-000001.parquet"), b"")
    assert folder.begin("ingest", commit.fingerprint, {}) == {PART}


def test_facts_come_back_with_their_types(folder: RunFolder) -> None:
    facts = Clustered(72, 100, 1.5, 3, True, 1, (1.5, 2.0), "spherical")
    commit = Commit(folder.result("cluster", "f" * 32), "f" * 32, 100, 100, 0, {}, facts)
    folder.commit(commit)
    assert folder.find(Clustered, "f" * 32) == commit


def test_a_result_of_other_settings_stays_where_it_is(folder: RunFolder) -> None:
    first = finished(folder)
    second = finished(folder, "fedcba9876543210")
    folder.set_current({"ingest": second.fingerprint})
    assert folder.require(Ingested) == second
    assert folder.find(Ingested, first.fingerprint) == first


def test_a_run_folder_can_be_moved(folder: RunFolder, tmp_path: Path) -> None:
    commit = finished(folder)
    folder.set_current({"ingest": commit.fingerprint})
    Path(folder.uri).rename(tmp_path / "moved")
    moved = RunFolder(str(tmp_path / "moved"))
    assert moved.require(Ingested) == replace(commit, uri=moved.result("ingest", commit.fingerprint))


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
    run.begin("ingest", "f", {})
    run.claim(str(source), "run")  # the same run goes on


def test_work_on_a_stage_takes_the_marks_of_a_finished_run_away(folder: RunFolder) -> None:
    for name in FINISHED:
        storage.write_json(folder.path(name), {})
    folder.begin("ingest", "f", {})
    assert not any(storage.exists(folder.path(name)) for name in FINISHED)


def test_what_is_current_is_written_only_when_it_changes(folder: RunFolder) -> None:
    folder.set_current({"ingest": "f"}, begun=("discover", "g"))
    folder.change_current(lambda current: None)
    assert folder.read()["begun"] == ["discover", "g"]
    folder.change_current(lambda current: {**current, "discover": "g"})
    assert folder.current() == {"ingest": "f", "discover": "g"}
    before = Path(folder.path(RUN_FILE)).stat().st_mtime_ns
    folder.set_current({"ingest": "f", "discover": "g"})
    assert Path(folder.path(RUN_FILE)).stat().st_mtime_ns == before
    assert folder.read()["begun"] is None


def test_each_command_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "out"))
    folder.claim(str(tmp_path / "in"), "ingest")
    folder.claim(str(tmp_path / "in"), "ingest")
    with pytest.raises(UsageError, match="is what `datus2 ingest` made"):
        folder.claim(str(tmp_path / "in"), "run")


def test_a_folder_of_another_format_is_refused_by_its_version(tmp_path: Path, folder: RunFolder) -> None:
    storage.write_json(folder.path(RUN_FILE), {"format": 99, "version": "9.0", "command": "run", "stages": {}})
    with pytest.raises(UsageError, match=r"written by datus2-ray 9\.0 \(format 99\)"):
        folder.read()
    old = RunFolder(str(tmp_path / "old"))
    storage.write_json(old.path(OLD_RUN_FILE), {"format": 1, "command": "run"})
    with pytest.raises(UsageError, match=r"written by datus2-ray 0\.1 \(format 1\)"):
        old.claim(str(tmp_path / "in"), "run")
