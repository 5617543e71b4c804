"""A run in an object store is named, taught, scored, exported and explored as one in a folder: the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import datus2_ray
from datus2_ray.cli.app import app
from datus2_ray.commands.explore import open_run
from datus2_ray.explore.edits import parse_request
from datus2_ray.store import folders, s3, storage
from datus2_ray.store.facts import Exported, Named, NamesScored, Taught, TaughtMasks
from datus2_ray.store.names import read_names
from datus2_ray.store.names_history import read_history
from datus2_ray.store.run_folder import RunFolder

NAMES = "classes: [road, {name: Straße, ignore: true}, sky]\nclusters: {road: [0, 1, 2, 3], Straße: [4], sky: [5, 6]}\n"


@pytest.fixture
def runs(run_to_name: str, bucket: str, tmp_path: Path, here: None) -> tuple[RunFolder, RunFolder]:
    """Return the same finished run in a folder and in a bucket."""
    s3.open_bucket.cache_clear()
    shutil.copytree(run_to_name, tmp_path / "run")
    there = f"s3://{bucket}/runs/one"
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            storage.write_bytes(storage.join(there, file.relative_to(tmp_path / "run").as_posix()), file.read_bytes())
    return RunFolder(str(tmp_path / "run")), RunFolder(there)


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def contents(uri: str) -> dict[str, bytes]:
    files = (entry.path for entry in folders.list_files(uri))
    kept = (file for file in files if not file.rpartition("/")[2].startswith("_"))
    return {file: storage.read_bytes(storage.join(uri, file)) for file in kept}


def test_a_run_in_a_bucket_is_named_taught_and_exported_as_one_in_a_folder(
    runs: tuple[RunFolder, RunFolder], bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "names.yaml").write_text(NAMES, encoding="utf-8")
    storage.write_bytes(f"s3://{bucket}/names.yaml", NAMES.encode())
    exported: list[Any] = []
    for run, file in zip(runs, (str(tmp_path / "names.yaml"), f"s3://{bucket}/names.yaml"), strict=True):
        assert "7 of 20 fine clusters named" in invoke("name", run.uri, "--file", file, "--teach")
        folders = [invoke("export", run.uri, "--format", name).split()[-1] for name in ("png", "coco", "cvat")]
        assert [folder.startswith(run.uri) for folder in folders] == [True] * 3
        assert run.require(Exported).facts.masks == "taught"
        exported.append([contents(folder) for folder in folders])
    here, there = runs
    assert exported[0] == exported[1]
    assert all(exported[0])
    for facts in (Named, Taught, TaughtMasks, NamesScored):
        assert here.require(facts).fingerprint == there.require(facts).fingerprint
        assert contents(here.require(facts).uri) == contents(there.require(facts).uri)
    metrics = [storage.read_json(run.path("metrics.json")) for run in runs]
    assert metrics[0] == metrics[1]
    assert set(metrics[1]["names"]) == {"images", "classes", "named", "taught"}
    assert datus2_ray.load(there.uri).mask("scene_0000", "taught").shape == (240, 320)
    # The explorer sees what was done, and what it does is seen.
    (tmp_path / "cache").mkdir()
    explored = open_run(there, tmp_path / "cache")
    lesson, scores = explored.lessons.now(), explored.metrics()
    assert lesson is not None
    assert scores is not None
    assert (lesson.names, scores["names"]) == (read_names(there).fingerprint(),) * 2
    assert set(scores["sets"]) == {"initial", "refined", "named", "taught"}
    assert explored.gallery.taught_map(0, lesson.masks).startswith(b"\x89PNG")
    edit = b'{"expected": 1, "edit": {"do": "clusters", "clusters": [7], "name": "sky"}}'
    explored.naming.edit(parse_request(edit))
    assert [entry.number for entry in read_history(there)] == [1, 2]
    assert "names" not in storage.read_json(there.path("metrics.json"))
    invoke("name", there.uri, "--masks")
    assert set(storage.read_json(there.path("metrics.json"))["names"]) == {"images", "classes", "named"}
