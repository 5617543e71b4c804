"""The plan: what a run would do, found without doing any of it, and what cannot run, refused before it starts."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm

import datus2_ray
from datus2_ray.commands import plan
from datus2_ray.commands.plan import StagePlan, plan_pretraining, plan_run, see_backbone, see_weights
from datus2_ray.config.load import RunConfig, load
from datus2_ray.engine.machines import ACTOR_MEMORY, Cluster, Node
from datus2_ray.errors import DatusError
from datus2_ray.sources.listing import list_source
from datus2_ray.store import storage

GIB = 2**30
SMALL = Cluster((Node(2, 0, 16 * GIB),))


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cluster], None]:
    return lambda cluster: monkeypatch.setattr(plan, "look_at_cluster", lambda seconds: cluster)


def settings(scenes: Path, tmp_path: Path, *assignments: str, **flags: Any) -> RunConfig:
    flags = {"source": str(scenes), "out": str(tmp_path / "run"), "dataset": "demo", **flags}
    return load(flags, assignments=("ingest.images_per_part=10", *assignments))


def test_every_stage_is_planned_and_nothing_is_written(
    scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]
) -> None:
    on(SMALL)
    planned = plan_run(settings(scenes, tmp_path))
    assert (planned.source.images, planned.source.labelled, planned.device) == (24, True, "cpu")
    files = [file for folder in ("images", "masks") for file in (scenes / folder).iterdir()]
    assert sum(planned.source.sizes.values()) == sum(file.stat().st_size for file in files)
    rows = {(stage.stage, stage.runs): stage for stage in planned.stages}
    assert list(rows) == [
        ("ingest", "tasks"), ("discover", "tasks"), ("discover", "embed"), ("discover", "describe"),
        ("cluster", "shard holders"), ("label", "tasks"), ("refine", "workers"), ("predict", "tasks"),
        ("predict", "segment"), ("baseline", "shard holders"), ("evaluate", "tasks"),
    ]  # fmt: skip
    assert rows["discover", "embed"] == StagePlan(
        "discover", "embed", 2, 2, "cpu", 0.0, parts=3, memory=2 * ACTOR_MEMORY
    )
    assert rows["discover", "tasks"].memory == 2 * 10 * 3 * 224**2
    assert rows["ingest", "tasks"].memory == 2 * max(planned.source.sizes.values())
    assert planned.notes == ()
    assert not (tmp_path / "run").exists()


def test_what_is_left_out_is_said(scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]) -> None:
    on(SMALL)
    images = str(scenes / "images")
    plain = settings(scenes, tmp_path, source=images, dataset="folder", clusters=3, limit=15)
    planned = plan_run(plain)
    assert [note.split(":")[0] for note in planned.notes] == ["no refinement", "no scores"]
    assert "15 images, under refine.min_images = 20" in planned.notes[0]
    assert {stage.stage for stage in planned.stages} == {"ingest", "discover", "cluster", "label"}
    tokens = plan_run(settings(scenes, tmp_path, "discover.descriptor=tokens", "refine.enabled=false"))
    assert [stage.runs for stage in tokens.stages if stage.stage == "discover"] == ["tasks", "embed"]


def test_a_cluster_that_is_yet_to_start_its_gpus_is_said_to_keep_the_run_waiting(
    scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]
) -> None:
    on(Cluster((Node(4, 0, 16 * GIB),), joined=True))
    planned = plan_run(
        settings(scenes, tmp_path, "discover.max_actors=3", "discover.gpus_per_actor=0.5", device="cuda")
    )
    embed = next(stage for stage in planned.stages if stage.runs == "embed")
    assert (embed.least, embed.most, embed.device, embed.gpus) == (1, 3, "cuda", 0.5)
    assert "no_progress_seconds = 180" in planned.notes[0]
    assert plan_run(settings(scenes, tmp_path)).notes == ()


def test_graphs_of_large_images_are_said_to_take_memory(
    scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]
) -> None:
    on(SMALL)
    (note,) = plan_run(settings(scenes, tmp_path, "discover.input_size=896")).notes
    assert "graph takes up to 1.9 GB more in every actor" in note


@pytest.mark.parametrize(
    ("cluster", "assignments", "flags", "message"),
    [
        (SMALL, ("discover.actors=3", "ingest.images_per_part=1"), {"device": "cuda"}, "Ray sees no GPU"),
        (
            Cluster((Node(2, 0, 4 * GIB),)),
            ("discover.actors=20", "ingest.images_per_part=1"),
            {},
            r"set discover\.actors to at most 2",
        ),
        (
            Cluster((Node(8, 2, 64 * GIB),)),
            ("discover.actors=3", "discover.gpus_per_actor=1"),
            {},
            r"set discover\.actors to at most 1",
        ),
        (Cluster((Node(0, 1, 64 * GIB),), joined=True), (), {}, "no CPU for tasks"),
        (Cluster((Node(8, 2, 64 * GIB),)), ("refine.workers=3",), {}, r"refine\.workers = 3, but the cluster has 2"),
        (SMALL, ("refine.workers=5",), {}, r"refine\.workers = 5 is too many"),
        (SMALL, (), {"dataset": "camvid", "source": "{scenes}/masks"}, "camvid: expected"),
        (SMALL, (), {"split": "val"}, "split"),
        (SMALL, (), {"source": "/no/such/folder"}, "does not exist"),
        (SMALL, (), {"dataset": "folder", "source": "{images}"}, "--clusters K"),
        (SMALL, (), {"out": "{scenes}/run"}, "lie within each other"),
    ],
)
def test_what_cannot_run_is_refused(
    scenes: Path,
    tmp_path: Path,
    on: Callable[[Cluster], None],
    cluster: Cluster,
    assignments: tuple[str, ...],
    flags: dict[str, str],
    message: str,
) -> None:
    on(cluster)
    filled = {name: text.format(images=scenes / "images", scenes=scenes) for name, text in flags.items()}
    with pytest.raises(DatusError, match=message):
        plan_run(settings(scenes, tmp_path, *assignments, **filled))
    assert not (tmp_path / "run").exists()


def test_pretraining_is_planned_and_refused_alike(scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]) -> None:
    on(SMALL)
    small = ("pretrain.batch_size=8", "pretrain.image_size=32", "pretrain.global_size=32", "pretrain.local_size=16")
    planned = plan_pretraining(settings(scenes, tmp_path, *small, "pretrain.workers=2"))
    assert [stage.stage for stage in planned.stages] == ["ingest", "pretrain"]
    assert planned.stages[1].memory == 2 * (ACTOR_MEMORY + 3 * 32**2 * 20 // 2)
    assert not planned.source.labelled
    for assignment, message in {
        "pretrain.batch_size=32": "20 images to train on are fewer",
        "pretrain.workers=64": r"pretrain\.workers = 64 take 0\.75 GB each",
    }.items():
        with pytest.raises(DatusError, match=message):
            plan_pretraining(settings(scenes, tmp_path, *small, "pretrain.batch_size=64", assignment))


def test_what_the_weights_name_is_looked_for_and_not_fetched(bucket: str, scenes: Path, tmp_path: Path) -> None:
    storage.write_bytes(f"s3://{bucket}/vit.safetensors", b"never read")
    see_weights(settings(scenes, tmp_path, backbone=f"s3://{bucket}/vit.safetensors::vit_tiny_patch16_224"))
    for assignments, flags, message in (
        ((), {"backbone": f"s3://{bucket}/none.pth"}, "no weights file s3://"),
        ((), {"backbone": "vit_smal_patch16_224"}, "vit_small_patch16_224"),
        (("refine.encoder_start=/no/such.pth",), {}, "no weights file /no/such.pth"),
        (("discover.descriptor=cnn", f"discover.cnn=s3://{bucket}/cnn.pth"), {}, "cnn.pth"),
        (("discover.tile=100",), {}, "give discover.tile=96"),
        (("refine.network=linear", "refine.size=100"), {}, "give refine.size=96"),
        (("refine.network=linear", "refine.encoder=resnet50"), {}, "leave them out, or set refine.network=deeplabv3"),
    ):
        with pytest.raises(DatusError, match=message):
            see_weights(settings(scenes, tmp_path, *assignments, **flags))


def test_the_sides_for_fetched_weights_are_seen_to_once_they_are_there(
    bucket: str, scenes: Path, tmp_path: Path
) -> None:
    uri = f"s3://{bucket}/vit.safetensors"
    storage.write_bytes(uri, b"never read")
    linear = settings(scenes, tmp_path, "refine.network=linear", "refine.size=100", backbone=uri)
    see_weights(linear)
    with pytest.raises(DatusError, match=r"give refine\.size=96"):
        see_backbone(linear, "untrained:vit_tiny_patch16_224")


def test_a_file_that_is_no_backbone_s_is_refused_before_ray_starts(scenes: Path, tmp_path: Path) -> None:
    weights = Path(datus2_ray.__file__).parent / "weights" / "datus2-vit-tiny-8.safetensors"
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(weights.read_bytes())
    beside = json.loads(weights.with_suffix(".json").read_bytes())
    mine.with_suffix(".json").write_text(json.dumps(beside))
    see_weights(settings(scenes, tmp_path, backbone=str(mine)))
    beside["architecture"]["depth"] -= 1
    mine.with_suffix(".json").write_text(json.dumps(beside))
    with pytest.raises(DatusError, match=r"mine\.safetensors does not fit its architecture"):
        see_weights(settings(scenes, tmp_path, backbone=str(mine)))
    mine.with_suffix(".json").write_text('{"depth": 8}')
    with pytest.raises(DatusError, match=r"mine\.json, the configuration beside mine\.safetensors, is not valid"):
        see_backbone(settings(scenes, tmp_path), str(mine))


@pytest.mark.parametrize(
    "named", [("discover.descriptor=cnn", "discover.cnn={}"), ("refine.encoder_start={}",)], ids=["crops", "encoder"]
)
def test_a_file_that_is_no_resnet_s_is_refused_before_ray_starts(
    scenes: Path, tmp_path: Path, named: tuple[str, ...]
) -> None:
    mine = tmp_path / "mine.safetensors"
    assignments = [one.format(mine) for one in named]
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    safetensors.torch.save_file(state, mine)
    see_weights(settings(scenes, tmp_path, *assignments))
    del state["layer3.0.conv1.weight"]
    safetensors.torch.save_file(state, mine)
    with pytest.raises(DatusError, match=r"mine\.safetensors does not fit its architecture"):
        see_weights(settings(scenes, tmp_path, *assignments))
    mine.write_bytes(b"no weights")
    with pytest.raises(DatusError, match=r"mine\.safetensors"):
        see_weights(settings(scenes, tmp_path, *assignments))


def test_a_missing_compiler_is_seen_before_ray_starts_but_not_for_a_cluster(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    compiling = settings(scenes, tmp_path, "discover.compile=true")
    with pytest.raises(DatusError, match=r"install g\+\+, or leave discover.compile off"):
        see_weights(compiling)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    see_weights(compiling)


def test_a_source_in_a_bucket_is_listed(bucket: str, scenes: Path, tmp_path: Path) -> None:
    for file in sorted(scenes.rglob("*.png"))[:3]:
        storage.write_bytes(f"s3://{bucket}/in/{file.name}", file.read_bytes())
    source = list_source(settings(scenes, tmp_path, source=f"s3://{bucket}/in", dataset="folder"), labelled=False)
    assert source.images == 3
    assert len(source.parts) == 1


def test_a_run_that_cannot_fit_is_refused_before_anything_is_begun(
    scenes: Path, tmp_path: Path, on: Callable[[Cluster], None]
) -> None:
    on(Cluster((Node(2, 0, 4 * GIB),)))
    impossible = settings(scenes, tmp_path, "discover.actors=20", "ingest.images_per_part=1", "pretrain.workers=64")
    for command in (datus2_ray.run, datus2_ray.pretrain):
        with pytest.raises(DatusError, match="at most"):
            command(impossible)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_refusal_takes_less_than_five_seconds_and_one_line(scenes: Path, tmp_path: Path, command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(
        [sys.executable, "-m", "datus2_ray", command, scenes, "--out", tmp_path / "run", "--dataset", "demo",
         "--set", "discover.actors=100000", "--set", "ingest.images_per_part=1", "--set", "discover.max_actors=100000",
         "--device", "cuda"],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "Ray sees no GPU on this machine; leave device at auto" in ran.stderr
    # What it works, not the time on the clock, which on a shared machine is anybody's.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert not (tmp_path / "run").exists()
