"""How far a run is, as its folder tells it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from datus2_ray.cli.terminal import status_table
from datus2_ray.commands.status import read_status
from datus2_ray.errors import StorageError
from datus2_ray.stages import COMMANDS
from datus2_ray.store import parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import Ingested
from datus2_ray.store.run_folder import RunFolder, part_name


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that was interrupted while it discovered: two of three parts are there."""
    folder = RunFolder(str(tmp_path / "run"))
    folder.claim(str(tmp_path / "in"), "run")
    names = [part_name(i) for i in range(3)]
    folder.begin("ingest", "f" * 32, {})
    folder.commit(
        Commit(folder.result("ingest", "f" * 32), "f" * 32, 25, 24, 1, dict.fromkeys(names, 8), Ingested("demo"))
    )
    log = EventLog(folder.path("events.jsonl"))
    for attempt in ({"rows_done": 8, "seconds": 3.25}, {"rows_done": 17, "seconds": 4}):
        log.write("stop", stage="ingest", fingerprint="f" * 32, errors=0, **attempt)
    folder.begin("discover", "a" * 32, {})
    folder.begin("discover", "b" * 32, {})
    folder.set_current({"ingest": "f" * 32}, begun=("discover", "b" * 32))
    parquet.write_table(f"{folder.result('discover', 'a' * 32)}/{names[2]}", pa.table({"x": range(100)}))
    for name in names[:2]:
        parquet.write_table(f"{folder.result('discover', 'b' * 32)}/{name}", pa.table({"x": range(8)}))
    return folder


def test_every_stage_of_the_command_says_how_far_it_is(folder: RunFolder) -> None:
    rows = read_status(folder)
    assert [(row.stage, row.title) for row in rows] == [(stage.name, stage.title) for stage in COMMANDS["run"]]
    stages = {row.stage: row for row in rows}
    ingest, discover, cluster = stages["ingest"], stages["discover"], stages["cluster"]
    assert (ingest.state, ingest.rows, ingest.quarantined, ingest.parts) == ("done", 24, 1, 3)
    assert ingest.seconds == 7.25  # of both attempts
    assert ingest.uri == folder.result("ingest", "f" * 32)
    # Of the result that is being made, not of one of other settings beside it.
    assert (discover.state, discover.rows, discover.parts, discover.of_parts) == ("begun", 16, 2, 3)
    assert discover.uri == folder.result("discover", "b" * 32)
    assert (cluster.state, cluster.rows, cluster.seconds, cluster.uri) == ("not begun", 0, None, None)


def test_the_table_shows_it(folder: RunFolder) -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(status_table(read_status(folder)))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "ingest done 24 1 3 of 3 7.2 ffffffffffff" in lines
    assert "discover begun 16 0 2 of 3 bbbbbbbbbbbb" in lines
    assert "cluster not begun" in lines


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no run folder"):
        read_status(RunFolder(str(tmp_path)))
