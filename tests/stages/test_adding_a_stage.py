"""One declaration and one line add a step: order, plan, fingerprint, status, clean-up and docs follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from datus2_ray import stages
from datus2_ray.cli.stages_page import all_stages, stages_table, with_table
from datus2_ray.commands.clean import find_removable
from datus2_ray.commands.plan import plan_stages
from datus2_ray.commands.status import read_status
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Stage
from datus2_ray.engine.uses import part_tasks
from datus2_ray.store import storage
from datus2_ray.store.facts import Facts, Ingested

DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Brightened(Facts):
    stage: ClassVar[str] = "brighten"


def brighten(block: pa.Table) -> pa.Table:
    return pa.table({"image_id": ["a"] * 4, "part": [block["part"][0].as_py()] * 4})


BRIGHTEN = Stage(
    facts=Brightened,
    title="Brighten every image",
    writes={"part-*.parquet": "brighter images"},
    version=1,
    reads=(Ingested,),
    decides=lambda run, device: {"limit": run.config.limit},
    uses=lambda prospect: [part_tasks(prospect)],
    work=PerPart(
        operators=lambda *_: [Operator(brighten)],
        facts=lambda *_: Brightened(),
        parts=lambda run: run.commit(Ingested).parts,
    ),
)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, ...]:
    chain = (stages.RUN[0], BRIGHTEN)
    monkeypatch.setitem(stages.COMMANDS, "run", chain)
    return chain


def test_a_new_stage_is_in_order_plan_status_clean_up_and_docs(
    added: tuple[Stage, ...], open_here: Callable[..., Run], scenes: Path
) -> None:
    settings = ("ingest.images_per_part=4",)
    run = open_here(scenes, *settings, dataset="demo", limit=8)
    plan = plan_stages(run.config, added, run.listing, run.machines)
    uses = [(stage, use.runs, use.parts) for stage, use in plan.uses]
    assert uses == [("ingest", "tasks", 2), ("brighten", "tasks", 2)]
    assert [status.state for status in read_status(run.folder)] == ["not begun", "not begun"]
    done, _ = execute(run, added)
    first = done.commit(Brightened)
    assert first.rows_out == 8
    assert [(status.stage, status.state, status.rows) for status in read_status(run.folder)] == [
        ("ingest", "done", 8), ("brighten", "done", 8)
    ]  # fmt: skip
    assert find_removable(run.folder) == []
    again, _ = execute(open_here(scenes, *settings, dataset="demo", limit=4), added)
    removable = {item.uri for item in find_removable(run.folder)}
    assert removable == {first.uri, done.commit(Ingested).uri}
    assert storage.exists(first.uri)
    assert again.commit(Brightened).uri not in removable
    assert "| `brighten/` | Brighten every image | ingest | `part-*.parquet`: brighter images |" in stages_table(added)


@pytest.mark.parametrize("page", ["architecture.md", "run_folder.md"])
def test_the_docs_have_the_table_of_the_declarations(page: str) -> None:
    text = (DOCS / page).read_text()
    assert text == with_table(text, all_stages()), "run: python -m datus2_ray.cli.stages_page docs/*.md"


def test_every_stage_names_only_stages_before_it() -> None:
    named = (*stages.RUN, *stages.TEACH_COMMAND)
    for chain in (stages.RUN, named, stages.INGEST_COMMAND, stages.PRETRAIN_COMMAND):
        before: set[str] = set()
        after_a_run = {stage.name for stage in chain if stage.adds}
        for stage in chain:
            # What only adds to a finished run is exported by the commands that make it.
            assert {facts.stage for facts in stage.reads} <= before, stage.name
            others = {named.name for named in stages.TEACH_COMMAND} if stage is stages.EXPORT else set()
            assert {facts.stage for facts in stage.may_read} <= before | others, stage.name
            assert stage.adds or not before & after_a_run, stage.name
            before.add(stage.name)
