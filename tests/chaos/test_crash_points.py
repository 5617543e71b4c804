"""A run is killed before any of its writes: repeated, it does what is missing and ends with the same tables.

All stages but the trainings run in this process. A kill leaves what lies on the disk at that moment, and perhaps half
of the file that was being written; so an undisturbed run is copied before each write, and every copy is gone on with.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.commands.clean import clean
from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig, load
from datus2_ray.demo.write import write_demo
from datus2_ray.stages import RUN
from datus2_ray.store import storage
from datus2_ray.store.lease import LEASE
from datus2_ray.store.run_folder import COMMIT, FINISHED, REPORT, RunFolder
from tests.chaos.conftest import table_hashes
from tests.in_process import commands_without_ray

SMALL = (
    "ingest.images_per_part=3",
    "discover.input_size=64",
    "discover.tau=0",
    "discover.descriptor=tokens",
    "cluster.restarts=1",
    "evaluate.token_restarts=1",
)

#: What a killed write leaves beside its file.
HALF_WRITTEN = "_0123abcd.tmp"

#: Called before each write or removal: its function's name, the URI, and the bytes to be written.
Before = Callable[[str, str, bytes], None]


@pytest.fixture
def before_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Before], None]:
    """Return a function that sets what is called before each write or removal of the main thread."""
    called: list[Before] = []

    def watched(name: str) -> Callable[..., None]:
        original = getattr(storage, name)

        def call(uri: str, data: bytes | memoryview = b"") -> None:
            # The lease is renewed in a thread, at no particular moment.
            if called and threading.current_thread() is threading.main_thread():
                called[-1](name, uri, bytes(data))
            original(*((uri, data) if name == "write_bytes" else (uri,)))

        return call

    for name in ("write_bytes", "remove", "remove_file"):
        monkeypatch.setattr(storage, name, watched(name))
    return called.append


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in this process, and draw no report: what is written does not depend on either."""
    commands_without_ray(monkeypatch)
    monkeypatch.setattr(
        "datus2_ray.report.html.write_report", lambda folder: storage.write_bytes(folder.path(REPORT), b"a page")
    )


@pytest.fixture(scope="module")
def six_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    write_demo(folder, 6, seed=0)
    (folder / "images" / "broken.png").write_bytes(b"this is no picture")
    return folder


@pytest.fixture(scope="module")
def dead() -> int:
    """Return the process id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def settings(source: Path, out: Path) -> RunConfig:
    """Return the settings of a small run by `best`, which writes all files that one by `paper` writes, and more."""
    flags = {"source": str(source), "out": str(out), "dataset": "demo", "max_error_rate": 0.2, "no_refine": True}
    flags |= {"backbone": "untrained:vit_tiny_patch16_224", "export": {"format": "png"}}
    # Two clusterings vote as ten do, in a fifth of the time.
    return load(flags, assignments=(*SMALL, "cluster.votes=2"))


def kept_files(out: Path) -> set[str]:
    """Return the files that a run must not write again: finished parts, and all of a finished result."""
    results = [folder for stage in RUN for folder in (out / stage.name).glob("*")]
    finished = [folder for folder in results if (folder / COMMIT).exists()]
    files = [file for folder in finished for file in folder.rglob("*")]
    return {str(file) for file in [*files, *(part for folder in results for part in folder.glob("part-*.parquet"))]}


def without_times(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if not name.startswith("seconds")}


def test_a_run_killed_before_any_write_ends_as_if_it_was_left_alone(
    quick: None, before_writes: Callable[[Before], None], six_scenes: Path, tmp_path: Path, dead: int
) -> None:
    out, copies, seen = tmp_path / "run", list[Path](), list[tuple[str, str]]()
    config = settings(six_scenes, out)

    def copy(name: str, uri: str, data: bytes) -> None:
        if not out.exists():
            return
        seen.append((name, uri))
        copies.append(tmp_path / f"copy-{len(copies)}")
        shutil.copytree(out, copies[-1])
        if name == "write_bytes":
            half = copies[-1] / Path(uri).relative_to(out).parent / HALF_WRITTEN
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data[: len(data) // 2])

    before_writes(copy)
    summary = without_times(run(config))
    undisturbed = table_hashes(str(out))
    stages = {"ingest", "discover", "cluster", "label", "token_tree", "baseline", "evaluate", "export"}
    assert {path.split("/")[0] for path in undisturbed} >= stages
    assert (summary["images"], summary["quarantined"]) == (6, 1)
    assert len(copies) > 60
    # Of every kind of write there is one: JSON, tables, the report, and files that are removed.
    assert {name for name, _ in seen} >= {"write_bytes", "remove_file"}
    assert {Path(uri).suffix for _, uri in seen} >= {".json", ".jsonl", ".parquet", ".html"}

    touched: list[str] = []
    before_writes(lambda name, uri, data: touched.append(uri))
    for killed in copies:
        shutil.rmtree(out)
        killed.rename(out)
        if (lease := out / LEASE).exists():
            lease.write_text(json.dumps({**json.loads(lease.read_text()), "pid": dead}))
        kept = kept_files(out)
        touched.clear()
        assert without_times(run(config)) == summary, killed.name
        assert table_hashes(str(out)) == undisturbed, killed.name
        assert not kept & set(touched), killed.name
        # No result but those that are current, and no part that was made besides.
        assert {Path(item.uri).name for item in clean(str(out))} <= {HALF_WRITTEN}, killed.name

    # Once more: nothing is left to do, and no file is touched.
    times = {str(file): file.stat().st_mtime_ns for file in out.rglob("*") if file != out}
    touched.clear()
    assert without_times(run(config)) == summary
    assert set(touched) == {str(out / LEASE)}
    assert {str(file): file.stat().st_mtime_ns for file in out.rglob("*") if file != out} == times


def test_an_interrupt_in_any_stage_leaves_the_folder_free_and_its_parts_counted(
    quick: None, before_writes: Callable[[Before], None], six_scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = settings(six_scenes, out)
    stages = ("ingest", "survey", "discover", "cluster", "label", "token_tree", "baseline", "evaluate", "export")
    for stage in stages:

        def interrupt(name: str, uri: str, data: bytes, stage: str = stage) -> None:
            if uri.startswith(str(out / stage)) and uri.endswith(("part-000001.parquet", "centroids.parquet")):
                raise KeyboardInterrupt

        before_writes(interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config)
        assert not (out / LEASE).exists()
        assert not any((out / name).exists() for name in (*FINISHED, REPORT))
        folder = RunFolder(str(out))
        assert stage not in folder.current()
        assert folder.read()["begun"][0] == stage
    done: list[str] = []
    before_writes(lambda name, uri, data: done.append(uri))
    run(config)
    assert not [uri for uri in done if uri.endswith("part-000000.parquet")]
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    # What attempts count adds up: no row was done twice, none was missed.
    for stage in ("ingest", "survey", "discover", "label", "evaluate", "export"):
        ended = [event for event in events if event.get("stage") == stage and "rows_done" in event]
        assert [event["event"] for event in ended] == ["stop", "end"], stage
        assert sum(event["rows_done"] for event in ended) == (7 if stage == "ingest" else 6), stage
