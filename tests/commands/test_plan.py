"""The plan: what a run would do, found without doing any of it, and what cannot run, refused before it starts."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import timm

import datus2_ray
from datus2_ray.commands import plan
from datus2_ray.commands.plan import plan_pretraining, plan_run, plan_stages
from datus2_ray.commands.run import run
from datus2_ray.commands.weights import check_backbone, check_pretraining, check_weights
from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, patch_side
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import ACTOR_MEMORY, Machines, Node
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage
from datus2_ray.errors import DatusError
from datus2_ray.sources.list_source import list_source
from datus2_ray.stages import INGEST_COMMAND, RUN
from datus2_ray.stages.discover.discover import SMALL_PATCH
from datus2_ray.store import folders, storage
from tests.in_process import SMALL_MACHINE

GIB = 2**30
SMALL = Machines((Node(2, 0, 16 * GIB),))
GRID = ("discover.input_size=null", "discover.grid=8")
BIG = Machines((Node(8, 2, 64 * GIB),))


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machines], None]:
    return lambda machines: monkeypatch.setattr(plan, "look_at_machines", lambda seconds: machines)


def settings(scenes: Path, tmp_path: Path, *assignments: str, preset: str = "paper", **flags: Any) -> RunConfig:
    flags = {"source": str(scenes), "out": str(tmp_path / "run"), "dataset": "demo", **flags}
    return load(flags, preset=preset, assignments=("ingest.images_per_part=10", *assignments))


def test_every_stage_is_planned_and_nothing_is_written(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None]
) -> None:
    on(SMALL)
    planned = plan_run(settings(scenes, tmp_path))
    assert (planned.source.images, planned.source.labelled, planned.device) == (24, True, "cpu")
    files = [file for folder in ("images", "masks") for file in (scenes / folder).iterdir()]
    assert sum(planned.source.sizes.values()) == sum(file.stat().st_size for file in files)
    # Every stage is planned, or a note says why a run does without it.
    left_out = [note.split(":")[0].removeprefix("no ") for note in planned.notes if note.startswith("no ")]
    assert {stage for stage, _ in planned.uses} == {stage.name for stage in RUN} - set(left_out)
    assert left_out == ["sample", "head", "codes", "em", "export"]
    uses = {(stage, use.runs): use for stage, use in planned.uses}
    embed = uses["discover", "embed"]
    assert (embed.count, embed.max_count, embed.device, embed.gpus, embed.parts) == (1, 1, "cpu", 0.0, 3)
    assert embed.memory == ACTOR_MEMORY  # 24 images do not repay the start of a second one
    assert uses["discover", "tasks"].memory == 2 * 10 * 3 * 224**2
    assert uses["ingest", "tasks"].memory == pytest.approx(2 * max(planned.source.sizes.values()), rel=0.01)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["paper", "best"])
def test_the_plan_is_what_the_run_then_uses(
    preset: str,
    scenes: Path,
    tmp_path: Path,
    on: Callable[[Machines], None],
    here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = (
        "ingest.images_per_part=2",
        "discover.input_size=64",
        "discover.tau=0",
        "discover.max_actors=3",
        "cluster.restarts=1",
        "label.edges=image",
        "refine.min_images=4",
    )
    flags = {"backbone": "untrained:vit_tiny_patch16_224", "limit": 6, "export": {"format": "png"}}
    flags |= {"no_refine": True} if preset == "paper" else {}  # DeepLabV3 trains on Ray
    config = settings(scenes, tmp_path, *small, preset=preset, **flags)
    on(SMALL_MACHINE)
    planned = plan_run(config)
    pools: dict[tuple[str, str], Pool] = {}
    stages: list[str] = []

    def find_operators(stage: Stage[Any]) -> Stage[Any]:
        """Note the pools that a stage's operators get when it runs."""
        if not isinstance(stage.work, PerPart):
            compute = stage.work.compute

            def noted(*arguments: Any) -> Any:
                stages.append(stage.name)
                return compute(*arguments)

            return replace(stage, work=replace(stage.work, compute=noted))
        operators = stage.work.operators

        def given(run: Run, placement: Placement, heartbeat: Heartbeat) -> Sequence[Operator]:
            stages.append(stage.name)
            made = operators(run, placement, heartbeat)
            used = [operator.pool for operator in made if operator.pool]
            assert used == list(placement.pools.values())
            pools.update({(stage.name, runs): pool for runs, pool in placement.pools.items()})
            return made

        return replace(stage, work=replace(stage.work, operators=given))

    monkeypatch.setattr("datus2_ray.commands.run.RUN", tuple(find_operators(stage) for stage in RUN))
    run(config)
    assert stages == list(dict.fromkeys(stage for stage, _ in planned.uses))
    assert pools == {(stage, use.runs): use.pool for stage, use in planned.uses if use.pool}
    assert ("discover", "embed") in pools
    assert ("label", "sharpen") in pools
    assert (("discover", "describe") in pools) == (preset == "paper")
    assert {"em", "predict"} <= set(stages) or preset == "paper"


def test_what_is_left_out_is_said(scenes: Path, tmp_path: Path, on: Callable[[Machines], None]) -> None:
    on(SMALL)
    images = str(scenes / "images")
    plain = settings(scenes, tmp_path, source=images, dataset="folder", clusters=3, limit=15)
    planned = plan_run(plain)
    reasons = dict(note.removeprefix("no ").split(": ", 1) for note in planned.notes if note.startswith("no "))
    assert "15 images with masks, under refine.min_images = 20" in reasons["refine"]
    assert reasons["predict"] == reasons["refine"]  # it reads what is left out
    assert "no ground truth" in reasons["evaluate"]
    assert any("110 megapixels" in note and "2.0 GB while it is decoded" in note for note in planned.notes)
    planned_stages = {stage for stage, _ in planned.uses}
    assert planned_stages.isdisjoint(reasons)
    assert planned_stages >= {"ingest", "discover", "cluster", "label"}
    tokens = plan_run(settings(scenes, tmp_path, "discover.descriptor=tokens", "refine.enabled=false"))
    assert [use.runs for stage, use in tokens.uses if stage == "discover"] == ["tasks", "embed"]


def test_a_cluster_that_is_yet_to_start_its_gpus_is_said_to_keep_the_run_waiting(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None]
) -> None:
    on(Machines((Node(4, 0, 16 * GIB),), joined=True))
    planned = plan_run(
        settings(scenes, tmp_path, "discover.max_actors=3", "discover.gpus_per_actor=0.5", device="cuda")
    )
    embed = next(use for stage, use in planned.uses if use.runs == "embed")
    assert (embed.count, embed.max_count, embed.device, embed.gpus) == (1, 3, "cuda", 0.5)
    assert "no_progress_seconds = 180" in planned.notes[0]
    assert all("no_progress_seconds" not in note for note in plan_run(settings(scenes, tmp_path)).notes)


def test_graphs_of_large_images_are_said_to_take_memory(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None]
) -> None:
    on(SMALL)
    notes = plan_run(settings(scenes, tmp_path, "discover.input_size=896")).notes
    assert len([note for note in notes if "graph takes up to 1.9 GB more in every actor" in note]) == 1
    # A grid says how many patches there are, whatever their size.
    named = {"preset": "best", "backbone": "vit_small_patch16_224.dino"}
    planned = plan_run(settings(scenes, tmp_path, "discover.grid=112", **named))
    assert [note for note in planned.notes if "graph takes up to 1.9 GB more" in note and "discover.grid" in note]
    tasks = next(use for stage, use in planned.uses if (stage, use.runs) == ("discover", "tasks"))
    assert tasks.memory == 2 * 10 * 3 * (112 * 16) ** 2
    assert not any("graph takes" in note for note in plan_run(settings(scenes, tmp_path, preset="best")).notes)


@pytest.mark.parametrize(
    ("machines", "assignments", "flags", "message"),
    [
        (SMALL, ("discover.actors=3", "ingest.images_per_part=1"), {"device": "cuda"}, "Ray sees no GPU"),
        (
            Machines((Node(2, 0, 4 * GIB),)),
            ("discover.actors=20", "ingest.images_per_part=1"),
            {},
            r"set discover\.actors to at most 2",
        ),
        (
            BIG,
            ("discover.actors=3", "discover.gpus_per_actor=1"),
            {},
            r"set discover\.actors to at most 1",
        ),
        (Machines((Node(0, 1, 64 * GIB),), joined=True), (), {}, "no CPU for tasks"),
        (BIG, ("refine.workers=3",), {}, r"refine\.workers = 3, but the cluster has 2"),
        (SMALL, ("refine.workers=5",), {}, r"refine\.workers = 5 is too many"),
        (SMALL, (), {"dataset": "camvid", "source": "{scenes}/masks"}, "camvid: expected"),
        (SMALL, (), {"split": "val"}, "split"),
        (SMALL, (), {"source": "/no/such/folder"}, "does not exist"),
        (SMALL, (), {"dataset": "folder", "source": "{images}"}, "--clusters K"),
        (SMALL, (), {"out": "{scenes}/run"}, "lie within each other"),
        (SMALL, (), {"out": "{scenes}-file/run"}, "cannot write .*-file is a file"),
        # 28 × 28 patches in segments of more than 5.
        (SMALL, (), {"clusters": 3121, "limit": 24}, "24 images of up to 130 segments have at most 3120"),
        (
            SMALL,
            ("discover.unit=patches", "discover.descriptor=tokens", "discover.grid=182", "discover.input_size=null"),
            {},
            r"182 × 182 patches .* set discover\.grid=181",
        ),
    ],
)
def test_what_cannot_run_is_refused(
    scenes: Path,
    tmp_path: Path,
    on: Callable[[Machines], None],
    machines: Machines,
    assignments: tuple[str, ...],
    flags: dict[str, Any],
    message: str,
) -> None:
    on(machines)
    Path(f"{scenes}-file").touch()
    places = {"images": scenes / "images", "scenes": scenes}
    filled = {name: text.format(**places) if isinstance(text, str) else text for name, text in flags.items()}
    with pytest.raises(DatusError, match=message):
        plan_run(settings(scenes, tmp_path, *assignments, **filled))
    assert not (tmp_path / "run").exists()


def test_as_many_clusters_as_there_can_be_segments_are_planned(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None]
) -> None:
    on(SMALL)
    plan_run(settings(scenes, tmp_path, "discover.noise=kept", clusters=3120, limit=24))
    # What clusters nothing, as a prediction, may have as few images as there are.
    few = settings(scenes, tmp_path, clusters=3121, limit=1)
    plan_stages(few, INGEST_COMMAND, list_source(few), SMALL)


def test_a_disk_without_room_for_the_images_is_refused(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(SMALL)
    needed = sum(list_source(settings(scenes, tmp_path)).sizes.values())
    monkeypatch.setattr(folders, "free_space", lambda uri: needed)
    plan_run(settings(scenes, tmp_path))
    monkeypatch.setattr(folders, "free_space", lambda uri: needed - 1)
    with pytest.raises(DatusError, match=r"gets a copy of the images, .* --out on another disk"):
        plan_run(settings(scenes, tmp_path))
    assert not (tmp_path / "run").exists()


def test_a_read_only_place_is_refused(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on(SMALL)
    monkeypatch.setattr("datus2_ray.store.folders.os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(DatusError, match=f"cannot write {tmp_path}/run: {tmp_path} is read-only"):
        plan_run(settings(scenes, tmp_path))


@pytest.mark.parametrize(
    ("backbone", "size", "remedy"),
    [
        (None, 225, "patches of 8 pixels, .* set discover.input_size=224 or 232"),
        ("untrained:vit_small_patch14_dinov2", 224, None),
        ("untrained:vit_small_patch14_dinov2", 225, "patches of 14 pixels, .* set discover.input_size=224 or 238"),
        ("untrained:vit_base_patch32_224", 40, "patches of 32 pixels, .* set discover.input_size=32 or 64"),
    ],
)
def test_sizes_that_the_patch_does_not_divide_are_refused_with_the_nearest(
    scenes: Path, tmp_path: Path, backbone: str | None, size: int, remedy: str | None
) -> None:
    flags = {} if backbone is None else {"backbone": backbone}
    config = settings(scenes, tmp_path, f"discover.input_size={size}", **flags)
    if remedy is None:
        check_weights(config)
        return
    with pytest.raises(DatusError, match=remedy) as caught:
        check_weights(config)
    assert "\n" not in str(caught.value)


def test_the_packaged_backbone_has_the_patches_that_plans_take_it_to_have() -> None:
    assert patch_side(DEFAULT_BACKBONE) == SMALL_PATCH


def test_views_that_the_patch_of_a_start_does_not_divide_are_refused(scenes: Path, tmp_path: Path) -> None:
    start = {"backbone": "untrained:vit_small_patch14_dinov2"}
    with pytest.raises(DatusError, match=r"set pretrain\.global_size=154 or 168, .* and pretrain.patch_size=14"):
        check_pretraining(settings(scenes, tmp_path, **start))
    fitting = ("image_size=224", "global_size=224", "local_size=98", "patch_size=14")
    check_pretraining(settings(scenes, tmp_path, *(f"pretrain.{each}" for each in fitting), **start))


def test_pretraining_is_planned_and_refused_alike(scenes: Path, tmp_path: Path, on: Callable[[Machines], None]) -> None:
    on(SMALL)
    small = ("pretrain.batch_size=8", "pretrain.image_size=32", "pretrain.global_size=32", "pretrain.local_size=16")
    planned = plan_pretraining(settings(scenes, tmp_path, *small, "pretrain.workers=2"))
    assert [stage for stage, _ in planned.uses] == ["ingest", "pretrain"]
    assert planned.uses[1][1].memory == 2 * (ACTOR_MEMORY + 3 * 32**2 * 20 // 2)
    assert not planned.source.labelled
    for assignment, message in {
        "pretrain.batch_size=32": "20 images to train on are fewer",
        "pretrain.workers=64": r"pretrain\.workers = 64 take 0\.75 GB each",
    }.items():
        with pytest.raises(DatusError, match=message):
            plan_pretraining(settings(scenes, tmp_path, *small, "pretrain.batch_size=64", assignment))


def test_what_the_weights_name_is_looked_for_and_not_fetched(bucket: str, scenes: Path, tmp_path: Path) -> None:
    storage.write_bytes(f"s3://{bucket}/vit.safetensors", b"never read")
    check_weights(settings(scenes, tmp_path, backbone=f"s3://{bucket}/vit.safetensors::vit_tiny_patch16_224"))
    for assignments, flags, message in (
        ((), {"backbone": f"s3://{bucket}/none.pth"}, "no weights file s3://"),
        ((), {"backbone": "vit_smal_patch16_224"}, "vit_small_patch16_224"),
        (("refine.encoder_start=/no/such.pth",), {}, "no weights file /no/such.pth"),
        (("discover.descriptor=cnn", f"discover.cnn=s3://{bucket}/cnn.pth"), {}, "cnn.pth"),
        (("discover.tile=100",), {}, "give discover.tile=96"),
        (("discover.tile=224",), {}, "must be less than the 224 pixels .* set discover.input_size=448 or"),
        (("discover.tile=64", *GRID), {}, "must be less than the 64 pixels .* set discover.grid=16 or"),
        (("discover.tile=64", "discover.input_size=100"), {}, "set discover.input_size=96"),
        (
            ("refine.em=true", "refine.network=linear", "refine.encoder=resnet50"),
            {},
            "set refine.network=deeplabv3, or leave the encoder out",
        ),
    ):
        with pytest.raises(DatusError, match=message):
            check_weights(settings(scenes, tmp_path, *assignments, **flags))


def test_the_windows_for_fetched_weights_are_seen_to_once_they_are_there(
    bucket: str, scenes: Path, tmp_path: Path
) -> None:
    uri = f"s3://{bucket}/vit.safetensors"
    storage.write_bytes(uri, b"never read")
    windows = settings(scenes, tmp_path, "discover.tile=100", backbone=uri)
    check_weights(windows)
    with pytest.raises(DatusError, match=r"give discover\.tile=96"):
        check_backbone(windows, "untrained:vit_tiny_patch16_224")


def test_a_file_that_is_no_backbone_s_is_refused_before_ray_starts(scenes: Path, tmp_path: Path) -> None:
    weights = Path(datus2_ray.__file__).parent / "weights" / "datus2-vit-tiny-8.safetensors"
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(weights.read_bytes())
    beside = json.loads(weights.with_suffix(".json").read_bytes())
    mine.with_suffix(".json").write_text(json.dumps(beside))
    check_weights(settings(scenes, tmp_path, backbone=str(mine)))
    beside["architecture"]["depth"] -= 1
    mine.with_suffix(".json").write_text(json.dumps(beside))
    with pytest.raises(DatusError, match=r"mine\.safetensors does not fit its architecture"):
        check_weights(settings(scenes, tmp_path, backbone=str(mine)))
    mine.with_suffix(".json").write_text('{"depth": 8}')
    with pytest.raises(DatusError, match=r"mine\.json, the configuration beside mine\.safetensors, is not valid"):
        check_backbone(settings(scenes, tmp_path), str(mine))


def test_what_a_backbone_lacks_is_said_before_ray_starts_with_a_remedy_that_works(scenes: Path, tmp_path: Path) -> None:
    model = timm.create_model("vit_tiny_patch16_224", class_token=False, global_pool="avg", num_classes=0, depth=1)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "ijepa.safetensors")
    weights = {"backbone": str(tmp_path / "ijepa.safetensors")}
    with pytest.raises(DatusError, match=r"no CLS token; .* --set discover\.descriptor=tokens"):
        check_weights(settings(scenes, tmp_path, **weights))
    check_weights(settings(scenes, tmp_path, "discover.descriptor=tokens", **weights))
    with pytest.raises(DatusError, match=r"has 1 blocks, so there is no block -2; set another discover\.block"):
        check_weights(settings(scenes, tmp_path, "discover.descriptor=tokens", "discover.block=-2", **weights))


def test_a_repository_of_the_hub_is_not_fetched_for_a_plan(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datus2_ray.store.weights_cache.fetch_from_hub", lambda name: pytest.fail("fetched"))
    check_weights(settings(scenes, tmp_path, backbone="facebook/dinov2-small"))


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
    check_weights(settings(scenes, tmp_path, *assignments))
    del state["layer3.0.conv1.weight"]
    safetensors.torch.save_file(state, mine)
    with pytest.raises(DatusError, match=r"mine\.safetensors does not fit its architecture"):
        check_weights(settings(scenes, tmp_path, *assignments))
    mine.write_bytes(b"no weights")
    with pytest.raises(DatusError, match=r"mine\.safetensors"):
        check_weights(settings(scenes, tmp_path, *assignments))


def test_a_missing_compiler_is_seen_before_ray_starts_but_not_for_a_cluster(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    compiling = settings(scenes, tmp_path, "discover.compile=true")
    with pytest.raises(DatusError, match=r"install g\+\+, or leave discover.compile off"):
        check_weights(compiling)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    check_weights(compiling)


def test_a_source_in_a_bucket_is_listed(bucket: str, scenes: Path, tmp_path: Path) -> None:
    for file in sorted(scenes.rglob("*.png"))[:3]:
        storage.write_bytes(f"s3://{bucket}/in/{file.name}", file.read_bytes())
    source = list_source(settings(scenes, tmp_path, source=f"s3://{bucket}/in", dataset="folder"), labelled=False)
    assert source.images == 3
    assert len(source.parts) == 1


def test_a_run_that_cannot_fit_is_refused_before_anything_is_begun(
    scenes: Path, tmp_path: Path, on: Callable[[Machines], None]
) -> None:
    on(Machines((Node(2, 0, 4 * GIB),)))
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
    # Before it the listing says which masks it found.
    (error,) = [line for line in ran.stderr.splitlines() if not line.startswith("list ")]
    assert "Ray sees no GPU on this machine; leave device at auto" in error
    # What it works, not the time on the clock, which on a shared machine is anybody's.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert not (tmp_path / "run").exists()


def test_a_listing_that_takes_long_shows_how_far_it_is_and_what_it_passed_over(
    scenes: Path,
    tmp_path: Path,
    on: Callable[[Machines], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on(SMALL)
    shutil.copytree(scenes / "images", tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(".")
    config = settings(tmp_path / "in", tmp_path, dataset="folder", clusters=2)
    plan_run(config)
    note = "list      passed over links to a folder around them: 1, for example again"
    assert capsys.readouterr().err.splitlines() == [note]
    monkeypatch.setattr(plan, "QUIET_SECONDS", 0)
    assert plan_run(config).source.images == 24
    shown, last = capsys.readouterr().err.splitlines()
    assert shown.startswith("list      24 files")
    assert last == note
    monkeypatch.setattr("datus2_ray.engine.progress.LOG_INTERVAL", 0)
    plan_run(config)
    *shown, _, last = capsys.readouterr().err.splitlines()
    assert "names compared" in shown[-1]
    (tmp_path / "shards").mkdir()
    images = pa.table({"image": [file.read_bytes() for file in sorted((scenes / "images").iterdir())]})
    for number in range(3):
        pq.write_table(images, tmp_path / "shards" / f"{number}.parquet")
    plan_run(settings(tmp_path / "shards", tmp_path, dataset="folder", clusters=2))
    assert "3 shards opened" in capsys.readouterr().err
