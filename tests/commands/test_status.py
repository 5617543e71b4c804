from __future__ import annotations

from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from datus2_ray.cli.terminal import status_table
from datus2_ray.commands.status import STAGES, survey
from datus2_ray.errors import StorageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import Commit, EventLog, RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that was interrupted while it discovered: two of three parts are there."""
    folder = RunFolder(str(tmp_path / "run"))
    folder.claim(str(tmp_path / "in"), "run")
    names = [f"part-00000{i}.parquet" for i in range(3)]
    folder.begin("images", "f")
    folder.finish("images", Commit("f", 25, 24, 1, dict.fromkeys(names, 8), {}))
    EventLog(folder).write("end", stage="ingest", seconds=3.25)
    folder.begin("segments", "g")
    for name in names[:2]:
        storage.write_table(folder.path("segments", name), pa.table({"x": range(8)}))
    return folder


def test_every_stage_says_how_far_it_is(folder: RunFolder) -> None:
    found = {one.stage: one for one in survey(folder)}
    assert list(found) == list(STAGES.values())
    ingest, discover, cluster = found["ingest"], found["discover"], found["cluster"]
    assert (ingest.state, ingest.rows, ingest.quarantined, ingest.parts, ingest.seconds) == ("done", 24, 1, 3, 3.25)
    assert (discover.state, discover.rows, discover.parts, discover.of_parts) == ("begun", 16, 2, 3)
    assert (cluster.state, cluster.rows, cluster.seconds) == ("not begun", 0, None)


def test_the_table_shows_it(folder: RunFolder) -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(status_table(survey(folder)))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "ingest done 24 1 3 of 3 3.2" in lines
    assert "discover begun 16 0 2 of 3" in lines
    assert "cluster not begun" in lines


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is no run folder"):
        survey(RunFolder(str(tmp_path)))
