"""A stage of two operators: parts are resumed, rows are never lost, settings never mix. Ray once a property."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
import ray

from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.operators.read_images import with_faults
from datus2_ray.engine.parts import Chain, Items, PartWriter, stream_parts
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.errors import DatusError, ImageError, StorageError
from datus2_ray.store import folders, parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.counted import NOTE
from datus2_ray.store.facts import Facts
from datus2_ray.store.run_folder import QUARANTINE, written_parts

PARTS = {f"part-{i:06d}.parquet": 4 for i in range(5)}


@dataclass(frozen=True)
class Counted(Facts):
    stage: ClassVar[str] = "count"
    rows: int


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


def count_stage(numbers: Numbers, parts: Mapping[str, int] = PARTS, setting: object = 0) -> Stage[Counted]:
    def facts(run: Run, placement: Placement) -> Counted:
        return Counted(sum(parquet.count_rows(placement.path(part)) for part in written_parts(placement.uri)))

    return Stage(
        facts=Counted,
        title="Count",
        writes={"part-*.parquet": "numbers"},
        version=1,
        decides=lambda run, device: {"setting": setting},
        uses=lambda prospect: [],
        work=PerPart(operators=lambda *_: [Operator(numbers)], facts=facts, parts=lambda run: parts),
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def made(journal: Path) -> dict[str, int]:
    return {file.name: file.read_text().count("made") for file in journal.iterdir()}


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return open_here(tmp_path / "in")


def test_rows_in_are_rows_out_and_rows_in_quarantine(run: Run, journal: Path) -> None:
    bad = "part-000002.parquet/1"
    commit: Commit[Counted] = execute_stage(run, count_stage(Numbers(journal, bad))).commit(Counted)
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined, commit.facts.rows) == (20, 19, 1, 19)
    assert commit.parts == {**PARTS, "part-000002.parquet": 3}
    assert parquet.read_table(commit.path(QUARANTINE)).to_pylist() == [
        {"image_id": bad, "stage": "count", "kind": "broken", "message": "no good"}
    ]
    assert parquet.read_table(commit.path("part-000002.parquet")).column_names == ["image_id"]
    assert run.folder.find(Counted) == commit


def test_a_finished_stage_is_not_done_again(run: Run, journal: Path) -> None:
    first = execute_stage(run, count_stage(Numbers(journal)))
    again = execute_stage(run, count_stage(Numbers(journal)))
    assert again.commits == first.commits
    assert made(journal) == dict.fromkeys(PARTS, 1)


def test_an_interrupted_stage_goes_on_with_the_parts_that_are_missing(run: Run, journal: Path) -> None:
    bad = "part-000001.parquet/3"
    with pytest.raises(ValueError, match="broke"):
        execute_stage(run, count_stage(Numbers(journal, bad, crash="part-000004.parquet")))
    assert run.folder.find(Counted) is None
    (note,) = Path(run.folder.path("count")).rglob(NOTE)
    assert json.loads(note.read_text()) == {part: [3, 1] if part in bad else [4, 0] for part in list(PARTS)[:4]}
    commit = execute_stage(run, count_stage(Numbers(journal, bad))).commit(Counted)
    assert (commit.rows_out, commit.rows_quarantined) == (19, 1)
    assert made(journal) == dict.fromkeys(PARTS, 1)
    assert not note.exists()


def test_seconds_and_rows_are_those_of_the_attempts_that_did_them(run: Run, journal: Path) -> None:
    with pytest.raises(ValueError, match="broke"):
        execute_stage(run, count_stage(Numbers(journal, crash="part-000003.parquet")))
    commit = execute_stage(run, count_stage(Numbers(journal))).commit(Counted)
    ended = [event for event in run.events.read() if "rows_done" in event]
    assert [(event["event"], event["rows_done"]) for event in ended] == [("stop", 12), ("end", 8)]
    seconds = sum(event["seconds"] for event in ended)
    assert run.events.stage_seconds(commit.fingerprint) == seconds
    assert run.events.seconds_per_row(commit.fingerprint) == pytest.approx(seconds / 20)


def test_another_setting_makes_a_sibling_and_going_back_does_nothing(run: Run, journal: Path) -> None:
    more = {**PARTS, "part-000009.parquet": 4}
    old = execute_stage(run, count_stage(Numbers(journal), more, "old")).commit(Counted)
    new = execute_stage(run, count_stage(Numbers(journal), PARTS, "new")).commit(Counted)
    assert written_parts(old.uri) == set(more)
    assert written_parts(new.uri) == set(PARTS)
    assert run.folder.find(Counted) == new
    back = execute_stage(run, count_stage(Numbers(journal), more, "old")).commit(Counted)
    assert back == old == run.folder.find(Counted)
    assert made(journal) == {**dict.fromkeys(PARTS, 2), "part-000009.parquet": 1}


def test_lost_rows_are_noticed(run: Run, journal: Path) -> None:
    with pytest.raises(DatusError, match=r"rows were lost in part-000003\.parquet"):
        execute_stage(run, count_stage(Numbers(journal), {**PARTS, "part-000003.parquet": 5}))
    assert run.folder.find(Counted) is None


def test_too_many_faults_end_the_run(open_here: Callable[..., Run], tmp_path: Path, journal: Path) -> None:
    run = open_here(tmp_path / "in", max_error_rate=0.04)
    with pytest.raises(DatusError) as caught:
        execute_stage(run, count_stage(Numbers(journal, "part-000000.parquet/0")))
    text = str(caught.value)
    assert "1 of 20 images cannot be used, more than --max-error-rate 0.04 allows" in text
    assert "1 broken, for example part-000000.parquet/0: no good; mend them" in text
    assert "\n" not in text


class Kinds:
    """Makes four rows a part: one is sound, two are broken, and one is small."""

    def __call__(self, block: pa.Table) -> pa.Table:
        part = block["part"][0].as_py()
        table = pa.table({"image_id": [f"{part}/{i}" for i in range(4)], "part": [part] * 4})
        broken, small = ImageError("broken", "no good"), ImageError("small", "no size")
        return with_faults(table, [small, None, broken, broken])


def test_faults_are_counted_by_kind_with_an_example_of_the_most_frequent(
    open_here: Callable[..., Run], tmp_path: Path, journal: Path
) -> None:
    run = open_here(tmp_path / "in", max_error_rate=0.4)
    stage = count_stage(Numbers(journal))
    assert isinstance(stage.work, PerPart)
    kinds = replace(stage, work=replace(stage.work, operators=lambda *_: [Operator(Kinds())]))
    with pytest.raises(
        DatusError, match=r"9 of 20 images .* 6 broken, 3 small, for example part-000000\.parquet/2: no good"
    ):
        execute_stage(run, kinds)
    # Those of an attempt before count, too.
    with pytest.raises(DatusError, match=r"9 of 20 images .* 6 broken, 3 small"):
        execute_stage(run, kinds)


def test_a_stage_is_left_out_with_those_that_read_it(run: Run, journal: Path) -> None:
    @dataclass(frozen=True)
    class Doubled(Facts):
        stage: ClassVar[str] = "double"

    count = replace(count_stage(Numbers(journal)), left_out=lambda prospect: "not asked for")
    double = Stage(
        facts=Doubled, title="Double", writes={}, version=1, reads=(Counted,), decides=lambda *_: {},
        uses=lambda prospect: [], work=count.work,
    )  # fmt: skip
    done, left_out = execute(run, [count, double])
    assert left_out == {"count": "not asked for", "double": "not asked for"}
    assert done.folder.current() == {}


def test_the_fingerprint_chains_versions_settings_inputs_and_device(run: Run, journal: Path) -> None:
    stage = count_stage(Numbers(journal))
    other = run.with_commit(Commit("", "x", 0, 0, 0, {}, Counted(0)))
    reader, computing = replace(stage, reads=(Counted,)), replace(stage, computes=True)
    stamps = [
        stage.identify(run, "cpu").fingerprint,
        replace(stage, version=2).identify(run, "cpu").fingerprint,
        count_stage(Numbers(journal), setting=1).identify(run, "cpu").fingerprint,
        reader.identify(other, "cpu").fingerprint,
        computing.identify(run, "cpu").fingerprint,
        computing.identify(run, "cuda").fingerprint,
    ]
    assert len(set(stamps)) == len(stamps)
    assert stage.identify(run, "cuda").fingerprint == stamps[0]


class Echo:
    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.table({"rows": [len(block)], "parts": [len(set(block["part"].to_pylist()))]})


@pytest.mark.parametrize("pool", [None, Pool(2, 2, "cpu")], ids=["tasks", "actors"])
def test_on_ray_every_operator_sees_whole_parts_alone(
    open_run: Callable[..., Run], journal: Path, pool: Pool | None
) -> None:
    open_run(journal / "in")
    operators = [Operator(Numbers(journal)), Operator(Echo() if pool is None else Echo, pool)]
    rows = list(stream_parts([{"part": part} for part in PARTS], lambda heartbeat: operators))
    assert rows == [{"rows": 4, "parts": 1}] * len(PARTS)


def test_on_ray_a_payload_is_read_when_the_one_before_it_is_in_the_object_store(
    open_run: Callable[..., Run], journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_run(journal / "in")
    put, blocks, before = ray.put, [], []

    def note(value: Any) -> Any:
        if isinstance(value, pa.Table):
            blocks.append(value)
        return put(value)

    def payload(part: str) -> dict[str, Any]:
        before.append(len(blocks))
        return {"images": [part]}

    monkeypatch.setattr(ray, "put", note)
    items = Items(list(PARTS), payload)
    rows = list(stream_parts(items, lambda heartbeat: [Operator(lambda block: block)]))
    assert rows == list(items)
    assert before[: len(PARTS)] == list(range(len(PARTS)))
    assert items[1:] == Items(items.parts[1:], payload)


def test_on_ray_an_operator_that_breaks_gives_one_line(open_run: Callable[..., Run], journal: Path) -> None:
    run = open_run(journal / "in")
    with pytest.raises(DatusError) as caught:
        execute_stage(run, count_stage(Numbers(journal, crash="part-000000.parquet")))
    assert str(caught.value) == "a worker failed: ValueError: the operator broke"


class Two:
    """Makes two parts of an item, and breaks before the third."""

    def __init__(self, journal: Path, error: Exception) -> None:
        self.journal, self.error = journal, error

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        for part in ("part-000000.parquet", "part-000001.parquet"):
            (self.journal / part).write_text("made\n")
            yield pa.table({"image_id": ["a"], "part": [part]})
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("the operator\nbroke"), "a worker failed: ValueError: the operator broke"),
        (StorageError("the disk is full; make room"), "the disk is full; make room"),
    ],
    ids=["foreign", "own"],
)
def test_on_ray_an_operator_that_breaks_between_two_parts_gives_one_line(
    error: Exception, line: str, open_run: Callable[..., Run], journal: Path
) -> None:
    open_run(journal / "in")
    writer = Operator(PartWriter(str(journal.parent / "out"), "count"))
    with pytest.raises(DatusError) as caught:
        list(stream_parts([{"part": "x"}], lambda heartbeat: [Operator(Two(journal, error)), writer]))
    assert str(caught.value) == line
    assert [entry.path for entry in folders.list_files(str(journal.parent / "out"))] == sorted(made(journal))


def test_few_parts_that_need_no_model_are_worked_on_in_the_driver(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_ray() -> None:
        raise AssertionError("on Ray")

    monkeypatch.setattr("datus2_ray.engine.parts.Heartbeat", on_ray)
    here = Operator(lambda block: block.append_column("process", pa.array([os.getpid()] * len(block))))
    items = [{"part": f"{number}"} for number in range(3)]
    found = list(stream_parts(items[:2], lambda heartbeat: [here]))
    assert found == [{**item, "process": os.getpid()} for item in items[:2]]
    assert list(stream_parts([], lambda heartbeat: [here])) == []
    for many in ((items, [here]), (items[:1], [here, Operator(Echo, Pool(1, 1, "cpu"))])):
        with pytest.raises(AssertionError, match="on Ray"):
            list(stream_parts(many[0], lambda heartbeat, made=many[1]: made))
    # What goes wrong is told as if it was Ray's work.
    for error, line in ((ValueError("the operator\nbroke"), "a worker failed: ValueError: the operator"),
                        (StorageError("the disk is full; make room"), "the disk is full; make room")):  # fmt: skip
        with pytest.raises(DatusError) as caught:
            list(stream_parts(items[:1], lambda heartbeat, error=error: [Operator(Two(journal, error))]))
        assert str(caught.value) == line


def test_a_block_is_through_all_operators_before_the_next_one_is_made() -> None:
    seen: list[str] = []

    def three(block: pa.Table) -> Iterator[pa.Table]:
        for number in range(3):
            seen.append(f"made {number}")
            yield block.append_column("number", pa.array([number]))

    def note(block: pa.Table) -> pa.Table:
        seen.append(f"through {block['number'][0].as_py()}")
        return block

    block = pa.table({"part": ["x"]})
    found = Chain((three, note)).each(block)
    assert [each["number"][0].as_py() for each in found] == [0, 1, 2]
    assert seen == [f"{what} {number}" for number in range(3) for what in ("made", "through")]
    assert Chain((lambda given: given,))(block) is block


def test_on_ray_a_stage_that_fails_writes_no_further_part(open_run: Callable[..., Run], tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    many = {f"part-{i:06d}.parquet": 4 for i in range(60)}
    run = open_run(tmp_path / "in", max_error_rate=0.0)
    with pytest.raises(DatusError, match="cannot be used"):
        execute_stage(run, count_stage(Slow(journal, "part-000000.parquet/0"), many))
    left = made(journal)
    import time

    time.sleep(3)  # one block in flight may still end; an execution that went on would make ten a second
    assert len(made(journal)) - len(left) <= 8
    assert len(left) < 60


class Slow(Numbers):
    def __call__(self, block: pa.Table) -> pa.Table:
        import time

        time.sleep(0.2)
        return super().__call__(block)


def test_what_decides_a_result_is_computed_once_per_device(run: Run, journal: Path) -> None:
    asked: list[str] = []

    def decides(run: Run, device: str) -> dict[str, object]:
        asked.append(device)  # for models this reads a file of weights whole
        return {}

    stage = replace(count_stage(Numbers(journal)), computes=True, decides=decides)
    execute_stage(run, stage)
    assert sorted(asked) == ["cpu", "cuda"]
    asked.clear()
    execute_stage(run, stage)
    assert asked == ["cpu"]
