from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from datus2_ray.engine.begun_device import choose_begun_device
from datus2_ray.engine.context import RunContext

from datus2_ray.engine.machines import Cluster, Node
from datus2_ray.errors import DatusError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import Commit

CPUS = Cluster((Node(4, 0, 10**10),), joined=True)
GPUS = Cluster((Node(4, 2, 10**10),), joined=True)


def stamp_on(device: str) -> str:
    return f"made on {device}"


@pytest.fixture
def context(open_run: Callable[..., RunContext], tmp_path: Path) -> RunContext:
    return open_run(tmp_path / "in", clusters=2)


def choose(context: RunContext, cluster: Cluster) -> str:
    return choose_begun_device(context, cluster, "segments", stamp_on)


def finish(context: RunContext) -> None:
    begun = context.folder.begun("segments")
    assert begun is not None
    context.folder.finish("segments", Commit(begun, 1, 1, 0, {}, {}))


def test_a_new_stage_takes_what_is_there(context: RunContext) -> None:
    assert (choose(context, CPUS), choose(context, GPUS)) == ("cpu", "cuda")
    context.folder.begin("segments", "of other settings")
    assert (choose(context, CPUS), choose(context, GPUS)) == ("cpu", "cuda")


def leave_a_part(context: RunContext) -> None:
    storage.write_bytes(context.folder.path("segments", "part-000000.parquet"), b"")


def test_a_stage_goes_on_where_it_was_begun(context: RunContext, capsys: pytest.CaptureFixture[str]) -> None:
    context.folder.begin("segments", stamp_on("cpu"))
    assert choose(context, GPUS) == "cuda"  # nothing would be lost
    leave_a_part(context)
    assert choose(context, GPUS) == "cpu"
    assert "segments goes on where it was begun, device cpu; --device cuda does it anew" in capsys.readouterr().err
    finish(context)
    assert choose(context, GPUS) == "cpu"


def test_what_gpus_finished_is_not_done_again_when_they_have_gone(context: RunContext) -> None:
    context.folder.begin("segments", stamp_on("cuda"))
    assert choose(context, CPUS) == "cpu"
    leave_a_part(context)
    assert choose(context, CPUS) == "cuda"  # the cluster may start some again
    with pytest.raises(DatusError, match=r"begun on GPUs.*--device cpu"):
        choose(context, replace(CPUS, joined=False))
    finish(context)
    assert choose(context, replace(CPUS, joined=False)) == "cuda"


def test_a_named_device_counts_whatever_was_begun(open_run: Callable[..., RunContext], tmp_path: Path) -> None:
    context = open_run(tmp_path / "in", clusters=2, device="cpu")
    context.folder.begin("segments", stamp_on("cuda"))
    assert choose(context, CPUS) == "cpu"
