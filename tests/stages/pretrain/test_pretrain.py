"""Pre-training under Ray Train: the same curve for any number of workers, after a kill, held or streamed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray.train
import ray.train.torch
import torch

from datus2_ray.commands.pretrain import pretrain as run_pretraining
from datus2_ray.config.load import load
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.pretrain import health
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.engine.session import configure_ray_data
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.pretrain import worker
from datus2_ray.stages.pretrain.data import held_batches, hold_images, streamed_batches
from datus2_ray.stages.pretrain.pretrain import HISTORY, PRETRAIN, plan_pretraining
from datus2_ray.stages.pretrain.training import MODEL, Pretrain
from datus2_ray.store import folders, parquet
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Pretrained
from tests.conftest import make_run
from tests.stages.conftest import train_here, training_processes

SMALL = tuple(
    f"pretrain.{setting}"
    for setting in (
        "dim=64", "depth=2", "image_size=64", "global_size=48", "local_size=24", "local_views=2", "prototypes=64",
        "hidden_dim=64", "bottleneck_dim=32", "batch_size=8", "steps=24", "warmup_steps=2", "learning_rate=0.002",
        "momentum=0.9", "checkpoint_steps=4", "held_out=4", "workers=1",
    )
)  # fmt: skip
CPU = torch.device("cpu")
LOSSES = ("loss", "cls_loss", "patch_loss", "texture_loss")


@pytest.fixture
def opened(open_run: Callable[..., Run], scenes: Path) -> Callable[..., Run]:
    def opened(*assignments: str, name: str = "run", backbone: str | None = None) -> Run:
        settings = (*SMALL, *assignments)
        run = open_run(scenes, *settings, name=name, dataset="demo", backbone=backbone, labelled=False)
        return execute_stage(run, INGEST)

    return opened


def pretrain(run: Run) -> Commit[Pretrained]:
    return execute_stage(run, PRETRAIN).commit(Pretrained)


def plan_of(run: Run) -> Pretrain:
    return plan_pretraining(run, "cpu", run.folder.path("tensorboard"))


@pytest.fixture(scope="module")
def undisturbed(
    ray_session: None, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Commit[Pretrained]]:
    """Train once with one worker and without any trouble: the run, and what the training committed."""
    configure_ray_data(120)
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    run = execute_stage(make_run(scenes, out, *SMALL, dataset="demo", backbone=None, labelled=False), INGEST)
    return run, pretrain(run)


def curve(commit: Commit[Pretrained]) -> dict[str, np.ndarray]:
    table = parquet.read_table(commit.path(HISTORY))
    return {name: table[name].to_numpy() for name in ("step", *LOSSES, "deviation")}


# Which images a step sees


def held_order(run: Run, workers: int, steps: range) -> list[torch.Tensor]:
    """Return whole batches, put together from the slices of so many workers."""
    plan = replace(plan_of(run), workers=workers)
    streams = []
    for rank in range(workers):
        held = hold_images(plan, plan.lanes_of(rank), CPU, lambda: None)
        streams.append(held_batches(plan, held, plan.lanes_of(rank), steps.start))
    return [torch.cat([next(stream) for stream in streams]) for _ in steps]


def test_a_batch_is_the_same_for_any_number_of_workers_and_after_a_resume(opened):
    run = opened()
    one = held_order(run, 1, range(7))
    for workers in (2, 4):
        assert all(torch.equal(a, b) for a, b in zip(one, held_order(run, workers, range(7)), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one[4:], held_order(run, 2, range(4, 7)), strict=True))


def test_a_pass_shows_every_image_once_but_those_held_out(opened):
    run = opened("pretrain.batch_size=4")
    plan = plan_of(run)
    # 24 scenes, 4 held out: 5 in each of 4 lanes.
    batches = held_order(run, 1, range(10))
    first, second = ([image.numpy().tobytes() for batch in batches[i : i + 5] for image in batch] for i in (0, 5))
    held_out = hold_images(plan, range(4, 8), CPU, lambda: None).pixels
    assert len(set(first)) == 20
    assert set(first) == set(second)
    assert first != second
    assert not set(first) & {image.numpy().tobytes() for image in held_out}
    assert len(held_out) == 4


def test_streamed_batches_are_whole_repeatable_and_of_the_worker_s_own_images(opened):
    plan = plan_of(opened())
    wanted = range(4)
    mine = {image.numpy().tobytes() for image in hold_images(plan, wanted, CPU, lambda: None).pixels}
    first, second = (streamed_batches(plan, wanted, 0, CPU) for _ in range(2))
    for _ in range(6):
        batch = next(first)
        assert torch.equal(batch, next(second))
        assert batch.shape == (4, 3, 64, 64)
        assert {image.numpy().tobytes() for image in batch} <= mine


# What is learned, in this process, by Ray Train's local mode


def test_a_training_goes_on_from_a_checkpoint_along_the_same_curve(opened, kept_checkpoints, monkeypatch):
    plan = plan_of(opened("pretrain.steps=8"))
    kept = [kept_checkpoints("first")]
    history = train_here(worker.train, plan)
    kept.append(kept_checkpoints("resumed"))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint(str(kept[0] / "step-00000004")))
    resumed = train_here(worker.train, plan)
    assert history["step"] == list(range(1, 9))
    assert history["fault"] is None
    assert resumed == history
    models = [(folder / "step-00000008" / MODEL).read_bytes() for folder in kept]
    assert models[0] == models[1]
    events = sorted(entry.path for entry in folders.list_files(plan.scalars))
    assert [name.split(".")[3] for name in events] == ["00000000", "00000004"]


def test_images_that_do_not_fit_are_streamed(opened, kept_checkpoints):
    plan = plan_of(opened("pretrain.memory=0.000001", "pretrain.steps=6"))
    assert not plan.held
    kept_checkpoints("kept")
    assert np.isfinite(train_here(worker.train, plan)["loss"]).all()


def test_a_collapse_ends_the_training_at_once_with_the_reason(opened, kept_checkpoints, monkeypatch):
    monkeypatch.setattr(health, "MIN_DEVIATION", 2.0)  # more than vectors can deviate
    monkeypatch.setattr(health, "PATIENCE", 7)
    folder = kept_checkpoints("kept")
    history = train_here(worker.train, plan_of(opened()))
    assert history["fault"].startswith("pretrain: collapsed at step 7: patch vectors deviate by ")
    assert history["step"][-1] < 24
    assert [path.name for path in folder.iterdir()] == ["step-00000004"]


def test_what_patches_learn_depends_on_the_backbone_that_it_starts_from(opened):
    starts = (None, "untrained:vit_tiny_patch16_224")
    runs = [opened(name=f"from-{number}", backbone=backbone) for number, backbone in enumerate(starts)]
    assert [plan_of(run).config.patch_objective for run in runs] == ["texture", "correspondence"]


# What is learned under Ray Train


@pytest.mark.slow
def test_a_training_leaves_a_backbone_its_curves_and_its_facts_and_is_not_done_again(undisturbed, capsys):
    run, commit = undisturbed
    history = curve(commit)
    assert history["step"].tolist() == list(range(1, 25))
    assert history["loss"][-3:].mean() < history["loss"][:3].mean()
    assert history["texture_loss"][-1] < history["texture_loss"][0]
    assert history["deviation"].min() > 0.1
    assert commit.facts.effective_rank > 1
    backbone = load_backbone(commit.path(MODEL))
    assert (backbone.dim, backbone.patch_size, backbone.input_size) == (64, 8, 64)
    events = folders.list_files(commit.path("tensorboard"))
    assert [entry.size > 100 for entry in events] == [True]
    capsys.readouterr()
    assert pretrain(run) == commit
    assert "done before" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_agree_with_one_left_alone(undisturbed, opened):
    _, quiet = undisturbed
    disturbed = opened("pretrain.workers=2", name="disturbed")
    killed: list[int] = []

    def kill() -> None:
        folder = Path(disturbed.folder.path("pretrain"))
        while not killed:
            if any(folder.glob("*/training/checkpoints/step-00000008")):  # in the midst, with a checkpoint behind it
                for process in training_processes()[:1]:
                    process.kill()
                    killed.append(process.pid)
            time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    commit = pretrain(disturbed)
    assert killed
    first, second = curve(quiet), curve(commit)
    assert first["step"].tolist() == second["step"].tolist()
    # Sums in another order: the same up to rounding at first, and that grows from step to step.
    np.testing.assert_allclose(first["loss"][:3], second["loss"][:3], rtol=1e-4)
    np.testing.assert_allclose(first["loss"][:12], second["loss"][:12], rtol=0.02)
    # Texture is scaled by the images of all workers.
    np.testing.assert_allclose(first["texture_loss"][:3], second["texture_loss"][:3], rtol=1e-4)


@pytest.mark.slow
def test_a_training_that_diverges_ends_the_command_with_the_reason(opened):
    run = opened("pretrain.steps=400", "pretrain.learning_rate=1e30")
    with pytest.raises(DatusError, match=r"^pretrain: the loss is not a number at step \d; lower pretrain.learning_ra"):
        pretrain(run)
    assert "pretrain" not in run.folder.current()


# What is refused


def test_too_few_images_are_refused(opened):
    run = opened("pretrain.batch_size=64")
    with pytest.raises(UsageError, match=r"20 images to train on are fewer than pretrain\.batch_size = 64"):
        pretrain(run)


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("pretrain.global_size=50", "multiple of the patch size"),
        ("pretrain.workers=3", "multiple of workers"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(assignment, reason):
    with pytest.raises(UsageError, match=reason):
        load({"source": "in", "out": "out"}, assignments=(*SMALL, assignment))


def test_the_library_is_asked_for_by_name_where_it_is_missing(monkeypatch, scenes, tmp_path):
    config: Any = load({"source": str(scenes), "out": str(tmp_path / "run")})
    monkeypatch.setattr("datus2_ray.commands.pretrain.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'datus2-ray\[pretrain\]'"):
        run_pretraining(config)
