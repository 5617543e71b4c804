"""The files of the names: state and history, written together, by one at a time, and by hand."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import LONGEST, NamedClass, Names
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import names as kept
from datus2_ray.store import storage
from datus2_ray.store.names import append_change, open_names, read_names, redo, undo
from datus2_ray.store.names_history import read_history
from datus2_ray.store.names_yaml import format_names, parse_names
from datus2_ray.store.run_folder import RunFolder

FINGERPRINT = "0123456789abcdef" * 2


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return claimed(str(tmp_path / "run"))


def claimed(uri: str) -> RunFolder:
    folder = RunFolder(uri)
    folder.claim("source", "run")
    folder.set_current({"cluster": FINGERPRINT})
    return folder


def name(folder: RunFolder, cluster: int, title: str | None) -> int:
    names, number = open_names(folder)
    return append_change(folder, Change.between(names, edits.name_clusters(names, [cluster], title)), number, "me")


def test_every_change_is_in_the_state_and_in_the_history(folder: RunFolder) -> None:
    assert open_names(folder) == (Names(FINGERPRINT), 0)
    assert not storage.exists(folder.path("names.yaml"))
    assert [name(folder, 3, "road"), name(folder, 1, "röad 道"), name(folder, 3, None)] == [1, 2, 3]
    names, number = open_names(folder)
    assert number == 3
    assert names.clustering == FINGERPRINT
    assert {named.name for named in names.classes} == {"road", "röad 道"}
    assert names.clusters == {1: 1}
    history = read_history(folder)
    assert [(entry.number, entry.who) for entry in history] == [(1, "me"), (2, "me"), (3, "me")]
    replayed = Names(FINGERPRINT)
    for entry in history:
        replayed = entry.change.apply(replayed)
    assert replayed == names
    text = Path(folder.path("names.yaml")).read_text()
    assert "röad 道" in text
    assert yaml.safe_load(text)["clusters"] == {"röad 道": [1]}


def test_undo_and_redo_are_changes_too(folder: RunFolder) -> None:
    states = [read_names(folder)]
    for cluster, title in ((3, "road"), (1, "car")):
        name(folder, cluster, title)
        states.append(read_names(folder))

    assert undo(folder, 2) == 3
    assert read_names(folder) == states[1]
    assert undo(folder, 3) == 4
    assert read_names(folder) == states[0]
    with pytest.raises(UsageError, match="nothing to undo"):
        undo(folder, 4)
    assert redo(folder, 4) == 5
    assert read_names(folder) == states[1]
    assert redo(folder, 5) == 6
    assert read_names(folder) == states[2]
    with pytest.raises(UsageError, match="nothing to redo"):
        redo(folder, 6)
    undo(folder, 6)
    name(folder, 7, "sky")
    with pytest.raises(UsageError, match="nothing to redo"):
        redo(folder, 8)
    assert undo(folder, 8) == 9
    assert undo(folder, 9) == 10
    assert read_names(folder) == states[0]
    assert len(read_history(folder)) == 10


def test_a_history_that_is_gone_is_noticed(folder: RunFolder) -> None:
    names, _ = open_names(folder)
    change = Change.between(names, edits.name_clusters(names, [0], "road"))
    with pytest.raises(UsageError, match=r"are new \(change 0, expected 3\)"):
        append_change(folder, change, 3)


def test_who_comes_second_is_refused(folder: RunFolder) -> None:
    names, number = open_names(folder)
    change = Change.between(names, edits.name_clusters(names, [0], "road"))
    assert append_change(folder, change, number, "first") == 1
    for edit in (lambda: append_change(folder, change, number), lambda: undo(folder, number)):
        with pytest.raises(UsageError, match="changed by first meanwhile"):
            edit()
    assert len(read_history(folder)) == 1


def test_of_many_at_once_none_is_lost(folder: RunFolder) -> None:
    def until_it_works(cluster: int) -> None:
        for _ in range(200):
            try:
                name(folder, cluster, f"class {cluster}")
                return
            except UsageError:
                continue

    threads = [threading.Thread(target=until_it_works, args=(cluster,)) for cluster in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names, number = open_names(folder)
    assert number == 4
    assert sorted(names.clusters) == [0, 1, 2, 3]


def test_an_edit_by_hand_is_one_change(folder: RunFolder) -> None:
    name(folder, 3, "road")
    file = Path(folder.path("names.yaml"))
    file.write_text(file.read_text().replace("road: [3]", "road: [3, 4]"))
    assert read_names(folder).clusters == {3: 0, 4: 0}
    names = read_names(folder)
    # Somebody who has not seen it is refused, and it is not lost.
    with pytest.raises(UsageError, match="changed by an edit by hand meanwhile"):
        append_change(folder, Change.between(names, edits.name_clusters(names, [9], "car")), 1)
    assert open_names(folder) == (names, 2)
    assert read_history(folder)[1].change == Change(clusters={4: (None, "road")})
    undo(folder, 2)
    assert read_names(folder).clusters == {3: 0}


def test_a_file_that_was_written_by_hand_alone_is_taken(folder: RunFolder) -> None:
    Path(folder.path("names.yaml")).write_text(
        "classes: [road, {name: void, ignore: true}]\nclusters: {Road: [1, 2]}\n"
    )
    names, number = open_names(folder)
    assert number == 1
    assert names.clustering == FINGERPRINT
    assert names.classes == (NamedClass("road", "#e69f00"), NamedClass("void", "#56b4e9", True))
    assert undo(folder, 1) == 2
    assert read_names(folder).is_empty


def test_after_a_crash_between_the_two_files_nothing_is_lost(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(folder, 3, "road")
    with monkeypatch.context() as patch:
        patch.setattr(kept, "_write_line", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            name(folder, 4, "car")
    names, number = open_names(folder)
    assert names.clusters == {3: 0, 4: 1}
    assert number == 2
    undo(folder, number)
    assert read_names(folder).clusters == {3: 0}


def without_locks(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if number in (errno.EACCES, errno.EROFS):  # of the file; tests may run as root, who may write everything
        monkeypatch.setattr(FileLock, "_acquire", fail)
    else:
        monkeypatch.setattr(fcntl, "flock", fail)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_names_are_read_without_a_lock_and_who_changes_them_without_one_is_told(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    name(folder, 3, "road")
    names = read_names(folder)
    change = Change.between(names, edits.name_clusters(names, [4], "car"))
    with monkeypatch.context() as patch:
        without_locks(patch, number)
        assert open_names(folder) == (names, 1)
        for edit in (lambda: append_change(folder, change, 1), lambda: undo(folder, 1)):
            with pytest.raises(StorageError, match=r"cannot lock .*\.names\.lock, as .*; use a copy of the run"):
                edit()
        # By hand: it is shown with the number that it gets as soon as it can be noted.
        file = Path(folder.path("names.yaml"))
        file.write_text(file.read_text().replace("road: [3]", "road: [3, 5]"))
        assert open_names(folder) == (replace(names, clusters={3: 0, 5: 0}), 2)
        assert len(read_history(folder)) == 1
    assert undo(folder, 2) == 3
    assert read_names(folder) == names


def test_a_lock_that_is_held_is_said(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PATIENCE", 0)
    with FileLock(folder.path(".names.lock")):
        assert open_names(folder) == (Names(FINGERPRINT), 0)
        with pytest.raises(
            StorageError, match=r"another process holds .*\.names\.lock; wait until .* or remove the file"
        ):
            name(folder, 3, "road")


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_where_flock_is_missing_the_file_that_it_left_elsewhere_is_not_waited_for(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(folder, 3, "road")
    without_locks(monkeypatch, errno.ENOSYS)
    begin = time.monotonic()
    with pytest.raises(StorageError, match=r"\.names\.lock"):
        name(folder, 4, "car")
    assert time.monotonic() - begin < 20


def test_a_clustering_that_changes_is_part_of_the_history(folder: RunFolder) -> None:
    name(folder, 3, "road")
    names, number = open_names(folder)
    append_change(folder, Change.between(names, replace(names, clustering="other", clusters={8: 0})), number)
    assert (read_names(folder).clustering, read_names(folder).clusters) == ("other", {8: 0})
    file = Path(folder.path("names.yaml"))
    file.write_text(file.read_text().replace("road: [8]", "road: [8, 9]"))
    assert open_names(folder)[1] == 3
    assert read_history(folder)[2].change == Change(clusters={9: (None, "road")})
    undo(folder, 3)
    undo(folder, 4)
    assert (read_names(folder).clustering, read_names(folder).clusters) == (FINGERPRINT, {3: 0})


def test_no_undo_or_redo_leads_to_names_of_another_clustering(folder: RunFolder) -> None:
    name(folder, 3, "road")
    folder.set_current({"cluster": "other"})
    names, number = open_names(folder)
    carried = replace(names, clustering="other", clusters={8: 0})
    append_change(folder, Change.between(names, carried), number)
    name(folder, 9, "road")
    undo(folder, 3)
    with pytest.raises(UsageError, match=r"cannot undo .* clustering 0123456789ab, and this run has other; change"):
        undo(folder, 4)
    assert (read_names(folder), len(read_history(folder))) == (carried, 4)
    redo(folder, 4)
    undo(folder, 5)
    # Back to the first clustering, as by its seed: now it may be undone, and not be redone after it went again.
    folder.set_current({"cluster": FINGERPRINT})
    undo(folder, 6)
    assert read_names(folder) == names
    folder.set_current({"cluster": "other"})
    assert redo(folder, 7) == 8
    folder.set_current({"cluster": FINGERPRINT})
    undo(folder, 8)
    with pytest.raises(UsageError, match=r"cannot redo .* clustering other, and this run has 0123456789ab; change"):
        redo(folder, 9)
    assert read_names(folder) == names


def test_classes_alone_hold_for_every_clustering_and_old_changes_stay_undone(folder: RunFolder) -> None:
    name(folder, 3, "road")
    name(folder, 3, None)
    folder.set_current({"cluster": "other"})
    names, number = open_names(folder)
    assert (names.clustering, [named.name for named in names.classes], number) == ("other", ["road"], 2)
    with pytest.raises(UsageError, match="last change was made to clustering 0123456789ab, and this run has other"):
        undo(folder, 2)
    assert name(folder, 5, "road") == 3
    assert (read_names(folder).clustering, read_names(folder).clusters) == ("other", {5: 0})
    undo(folder, 3)
    redo(folder, 4)
    assert (read_names(folder).clustering, read_names(folder).clusters) == ("other", {5: 0})
    file = Path(folder.path("names.yaml"))
    file.write_text(file.read_text().replace("road: [5]", "road: [5, 6]"))
    assert open_names(folder)[1] == 6
    assert read_history(folder)[5].change == Change(clusters={6: (None, "road")})


def test_a_file_in_another_encoding_is_refused(folder: RunFolder) -> None:
    file = Path(folder.path("names.yaml"))
    file.write_bytes("classes: [Straße]".encode("latin-1"))
    with pytest.raises(UsageError, match=r"names\.yaml is no text in UTF-8, see its byte 14; save it as UTF-8"):
        read_names(folder)
    # As editors of Windows write it.
    file.write_bytes("classes: [Straße]".encode("utf-8-sig"))
    assert [named.name for named in read_names(folder).classes] == ["Straße"]
    name(folder, 1, "Straße")
    assert read_names(folder).clusters == {1: 0}


titles = st.text(min_size=1, max_size=LONGEST).filter(lambda text: text.isprintable() and text == text.strip())
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(
    st.lists(titles, min_size=1, max_size=5, unique_by=lambda text: text.casefold()),
    st.dictionaries(ids, st.dictionaries(st.integers(0, 9), st.integers(0, 0), min_size=1), max_size=3),
    st.booleans(),
)
def test_any_names_are_read_as_they_were_written(
    found: list[str], segments: dict[str, dict[int, int]], ignore: bool
) -> None:
    classes = tuple(NamedClass(title, "#00ff7f", ignore) for title in found)
    names = Names(FINGERPRINT, classes, {number: number for number in range(len(found))}, segments)
    assert parse_names(format_names(names), "text", "") == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [road]\nclusters: {car: [1]}", "unknown class 'car'; there are road"),
        ("classes: [road]\nclusters: {road: [-1]}", "'-1' is no number of a cluster"),
        ("classes: [road]\nclusters: {road: [true]}", "'true' is no number of a cluster"),
        ("classes: [road]\nclusters: {road: 3}", "clusters of 'road' are '3'; write a list"),
        ("classes: [road, car]\nclusters: {road: [1], car: [1]}", "fine cluster 1 belongs to 'road' and 'car'"),
        ("classes: [{name: road, color: '#123456'}]", "unknown key 'color'; there are name, colour, ignore"),
        ("classes: [{name: road, ignore: maybe}]", "ignore: 'maybe' is neither true nor false"),
        ("classes: [[road]]", "does not hold names"),
        ("classes: [road]\nclusters: {road: [1], road: [2]}", "is no YAML: 'road' stands twice"),
        ("classes: [road]\nclasses: [sky]", "is no YAML: 'classes' stands twice"),
        ("classes: [{name: road, name: sky}]", "is no YAML: 'name' stands twice"),
        ("classes: [road]\nsegments: {a: {1: road}, a: {2: road}}", "is no YAML: 'a' stands twice"),
        ("classes: [road]\nsegments: {a: {1: road, '1': road}}", "is no YAML: '1' stands twice"),
        ("classes: [road]\nclusters: {road: [01]}", "'01' is no number of a cluster"),
        ("classes: [road]\nclusters: {road: [!!int 1]}", "has no meaning"),
        (f"classes: [{'x' * 300}]", "has 300 characters, max 80"),
        (f"classes: [{{name: '{'Ж' * 300}'}}]", "has 300 characters, max 80"),
        ('classes: ["a\\u202Eb"]', "is no name of a class"),
        ("classes: [é, e\u0301]", "differ only in case or in how a letter is coded"),
        ("classes: [{name: road, colour: red}]", "write it as '#rrggbb'"),
        ("classes: [road]\ncluster: {}", "unknown key 'cluster'; there are clustering, classes"),
        ("classes: [road]\nsegments: {a: {x: road}}", "'x' is no number of a cluster or segment"),
        ("- road", "does not hold names"),
        ("classes: [", "is no YAML"),
        ("classes: !!python/object/apply:os.system [ls]", "is no YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_names(text, "names.yaml", "c")
    assert str(caught.value).startswith("names.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_in_a_bucket(bucket: str, s3_server: str) -> None:
    folder = claimed(f"s3://{bucket}/run")
    assert [name(folder, 3, "road"), name(folder, 1, "car")] == [1, 2]
    undo(folder, 2)
    assert open_names(folder) == (read_names(claimed(folder.uri)), 3)
    assert read_names(folder).clusters == {3: 0}


ODD = (
    "no",
    "null",
    "1",
    "ignore",
    "true",
    "~",
    "2024-01-01",
    "1e3",
    "0x10",
    "<b>&amp;</b>",
    "Straße",
    "道路",
    "🚗 car",
)


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_name_is_the_text_that_is_written_with_or_without_quotes(quote: str) -> None:
    titles = [f"{quote}{title}{quote}" for title in ODD]
    clusters = "".join(f"\n  {title}: [{number}]" for number, title in enumerate(titles))
    names = parse_names(
        f"classes: [{', '.join(titles)}]\nclusters:{clusters}\nsegments: {{0007: {{3: no}}}}", "text", "c"
    )
    assert tuple(named.name for named in names.classes) == ODD
    assert names.clusters == {number: number for number in range(len(ODD))}
    assert names.segments == {"0007": {3: 0}}
    assert parse_names(format_names(names), "text", "") == names


@pytest.mark.parametrize(
    ("written", "ignored"), [("true", True), ("Yes", True), ("'true'", True), ("no", False), ("", False)]
)
def test_ignore_is_true_or_false(written: str, ignored: bool) -> None:
    (named,) = parse_names(f"classes:\n- name: ignore\n  ignore: {written}", "text", "c").classes
    assert (named.name, named.ignore) == ("ignore", ignored)
