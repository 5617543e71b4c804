from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import ray.data
from datus2_ray.engine.context import RunContext

from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.engine.parts import Build, map_parts, run_stage
from datus2_ray.engine.pools import Pool
from datus2_ray.errors import DatusError, ImageError
from datus2_ray.store import storage

PARTS = {f"part-{i:06d}.parquet": 4 for i in range(5)}


class Numbers:
    """Makes four rows a part; the row named in `bad` carries a fault; notes in a folder that the part was made."""

    def __init__(self, journal: Path, bad: str = "", crash: str = "") -> None:
        self.journal, self.bad, self.crash = journal, bad, crash

    def __call__(self, block: pa.Table) -> pa.Table:
        part = block["part"][0].as_py()
        if part == self.crash:
            raise ValueError("the operator\nbroke")
        with (self.journal / part).open("a") as file:
            file.write("made\n")
        ids = [f"{part}/{i}" for i in range(4)]
        table = pa.table({"image_id": ids, "part": [part] * 4})
        return with_faults(table, [ImageError("broken", "no good") if i == self.bad else None for i in ids])


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def build(operator: Numbers) -> Build:
    return lambda parts, heartbeat: map_parts(parts, operator)


@pytest.fixture
def context(open_run: Callable[..., RunContext], tmp_path: Path) -> RunContext:
    return open_run(tmp_path / "in")


def test_rows_in_are_rows_out_and_rows_in_quarantine(context: RunContext, journal: Path) -> None:
    bad = "part-000002.parquet/1"
    commit = run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal, bad)))
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (20, 19, 1)
    assert commit.parts == {**PARTS, "part-000002.parquet": 3}
    assert storage.read_table(context.folder.path("quarantine", "try.parquet")).to_pylist() == [
        {"image_id": bad, "stage": "try", "kind": "broken", "message": "no good"}
    ]
    written = storage.read_table(context.folder.path("try", "part-000002.parquet"))
    assert written.column_names == ["image_id"]


def test_a_finished_stage_is_not_done_again(context: RunContext, journal: Path) -> None:
    first = run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal)))
    again = run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal)))
    assert again == first
    assert all(file.read_text() == "made\n" for file in journal.iterdir())


def test_an_interrupted_stage_goes_on_with_the_parts_that_are_missing(context: RunContext, journal: Path) -> None:
    bad = "part-000001.parquet/3"
    with pytest.raises(DatusError):
        run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal, bad, crash="part-000004.parquet")))
    left = {e.path for e in storage.list_files(context.folder.path("try")) if e.path.startswith("part-")}
    assert "part-000004.parquet" not in left
    commit = run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal, bad)))
    assert (commit.rows_out, commit.rows_quarantined) == (19, 1)
    made = {file.name: file.read_text().count("made") for file in journal.iterdir()}
    assert all(made[part] == 1 for part in left)


def test_changed_settings_never_mix_with_the_old_output(context: RunContext, journal: Path) -> None:
    run_stage(context, "try", "try", "old", {**PARTS, "part-000009.parquet": 4}, build(Numbers(journal)))
    run_stage(context, "try", "try", "new", PARTS, build(Numbers(journal)))
    assert {e.path for e in storage.list_files(context.folder.path("try"))} == {*PARTS, "_COMMIT.json", "_BEGUN.json"}


def test_lost_rows_are_noticed(context: RunContext, journal: Path) -> None:
    with pytest.raises(DatusError, match=r"rows were lost in part-000003\.parquet"):
        run_stage(context, "try", "try", "f", {**PARTS, "part-000003.parquet": 5}, build(Numbers(journal)))
    assert context.folder.commit_of("try") is None


def test_too_many_faults_end_the_run(open_run: Callable[..., RunContext], tmp_path: Path, journal: Path) -> None:
    context = open_run(tmp_path / "in", max_error_rate=0.04)
    with pytest.raises(DatusError, match=r"1 of 20 images cannot be used, more than --max-error-rate 0\.04"):
        run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal, "part-000000.parquet/0")))


def test_an_operator_that_breaks_gives_one_line(context: RunContext, journal: Path) -> None:
    with pytest.raises(DatusError) as caught:
        run_stage(context, "try", "try", "f", PARTS, build(Numbers(journal, crash="part-000000.parquet")))
    assert str(caught.value) == "a worker failed: ValueError: the operator broke"


class Echo:
    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.table({"rows": [len(block)], "parts": [len(set(block["part"].to_pylist()))]})


@pytest.mark.parametrize("pool", [None, Pool(2, 2, "cpu")], ids=["tasks", "actors"])
def test_every_operator_sees_whole_parts_alone(ray_session: None, journal: Path, pool: Pool | None) -> None:
    items = [{"part": part} for part in PARTS]
    dataset = map_parts(ray.data.from_items(items, override_num_blocks=len(items)), Numbers(journal))
    counted = map_parts(dataset, Echo(), None) if pool is None else map_parts(dataset, Echo, pool)
    assert counted.take_all() == [{"rows": 4, "parts": 1}] * len(PARTS)
