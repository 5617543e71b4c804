"""A stage goes on where it was begun, so that one result never holds what two kinds of device computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from datus2_ray.engine.device import choose_identity
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.machines import Device, Machines, Node
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Stage
from datus2_ray.errors import DatusError
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Facts
from datus2_ray.store.run_folder import written_parts

CPUS = Machines((Node(4, 0, 10**10),), joined=True)
GPUS = Machines((Node(4, 2, 10**10),), joined=True)
NO_GPU = replace(CPUS, joined=False)
PARTS = {"part-000000.parquet": 1, "part-000001.parquet": 1}


@dataclass(frozen=True)
class Computed(Facts):
    stage: ClassVar[str] = "compute"


def note_device(device: Device) -> Callable[[pa.Table], pa.Table]:
    return lambda block: pa.table({"image_id": [device], "part": block["part"]})


STAGE = Stage(
    facts=Computed,
    title="Note the device",
    writes={},
    version=1,
    computes=True,
    decides=lambda run, device: {},
    uses=lambda prospect: [],
    work=PerPart(
        operators=lambda run, placement, heartbeat: [Operator(note_device(placement.device))],
        facts=lambda run, placement: Computed(),
        parts=lambda run: PARTS,
    ),
)


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return open_here(tmp_path / "in")


def begin(run: Run, device: Device, stage: Stage[Computed] = STAGE) -> str:
    """Leave what an attempt killed on a device leaves, its first part, and return the URI of its folder."""
    stamp = stage.identify(run, device).fingerprint
    run.folder.begin(stage.name, stamp, {})
    uri = run.folder.result(stage.name, stamp)
    parquet.write_table(storage.join(uri, "part-000000.parquet"), pa.table({"image_id": [device]}))
    return uri


def finish(run: Run, device: Device) -> None:
    stamp = STAGE.identify(run, device).fingerprint
    run.folder.commit(Commit(run.folder.result(STAGE.name, stamp), stamp, 2, 2, 0, PARTS, Computed()))


def test_a_new_stage_takes_what_is_there(run: Run) -> None:
    begin(run, "cpu", replace(STAGE, version=2))  # of other settings
    assert [choose_identity(run.on(machines), STAGE).device for machines in (CPUS, GPUS)] == ["cpu", "cuda"]


def test_a_stage_goes_on_where_it_was_begun(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run.folder.begin(STAGE.name, STAGE.identify(run, "cpu").fingerprint, {})
    assert choose_identity(run.on(GPUS), STAGE).device == "cuda"  # nothing would be lost
    begin(run, "cpu")
    assert choose_identity(run.on(GPUS), STAGE).device == "cpu"
    assert "compute goes on where it was begun, device cpu; --device cuda does it anew" in capsys.readouterr().err
    finish(run, "cpu")
    assert choose_identity(run.on(GPUS), STAGE).device == "cpu"


def test_what_gpus_finished_is_not_done_again_when_they_have_gone(run: Run) -> None:
    assert choose_identity(run.on(CPUS), STAGE).device == "cpu"
    begin(run, "cuda")
    assert choose_identity(run.on(CPUS), STAGE).device == "cuda"  # the cluster may start some again
    with pytest.raises(DatusError, match=r"begun on GPUs.*--device cpu"):
        choose_identity(run.on(NO_GPU), STAGE)
    finish(run, "cuda")
    assert choose_identity(run.on(NO_GPU), STAGE).device == "cuda"


def test_a_named_device_counts_whatever_was_begun(open_here: Callable[..., Run], tmp_path: Path) -> None:
    run = open_here(tmp_path / "in", device="cpu")
    begin(run, "cuda")
    assert choose_identity(run.on(GPUS), STAGE).device == "cpu"


def test_parts_of_two_devices_never_lie_in_one_result(open_here: Callable[..., Run], tmp_path: Path) -> None:
    on_gpus = begin(open_here(tmp_path / "in"), "cuda")
    commit = execute_stage(open_here(tmp_path / "in", device="cpu"), STAGE).commit(Computed)
    assert commit.uri != on_gpus
    assert {parquet.read_table(commit.path(part))["image_id"][0].as_py() for part in PARTS} == {"cpu"}
    assert written_parts(on_gpus) == {"part-000000.parquet"}  # for the GPUs, should they come back


def test_a_stage_that_goes_on_keeps_the_device_of_its_parts(run: Run) -> None:
    begin(run, "cpu")
    commit = execute_stage(run.on(GPUS), STAGE).commit(Computed)
    assert [parquet.read_table(commit.path(part))["image_id"][0].as_py() for part in PARTS] == ["cpu", "cpu"]


def test_where_nothing_computes_the_device_is_what_there_is(run: Run) -> None:
    plain = replace(STAGE, computes=False)
    begin(run, "cpu", plain)
    assert choose_identity(run.on(GPUS), plain).device == "cuda"
    assert plain.identify(run, "cpu").fingerprint == plain.identify(run, "cuda").fingerprint
