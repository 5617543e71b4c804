"""Checkpoints on a file system and for a store, written by a worker of Ray Train's local mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray.train
import ray.train.torch
import torch

from datus2_ray.engine.training.worker import STATE, read_checkpoint, write_checkpoint
from datus2_ray.errors import DatusError

NAME, MODEL = "epoch-0003", "model.bin"


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Return what is reported: where the checkpoint is, and how it is kept."""
    kept: list[dict[str, Any]] = []

    def report(metrics: dict[str, Any], checkpoint: Any, **how: Any) -> None:
        kept.append({"folder": Path(checkpoint.path), **how})
        monkeypatch.setattr(ray.train, "get_checkpoint", lambda: checkpoint)

    monkeypatch.setattr(ray.train, "report", report)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return kept


def in_worker(work: Any) -> Any:
    """Return what a function returns as the only worker of a training in this process."""
    scaling = ray.train.ScalingConfig(num_workers=0)
    return (
        ray.train.torch.TorchTrainer(lambda config: work(), train_loop_config={}, scaling_config=scaling)
        .fit()
        .return_value
    )


@pytest.mark.parametrize("in_store", [False, True])
def test_a_checkpoint_is_read_as_it_was_written(reported, tmp_path, in_store):
    kept = None if in_store else str(tmp_path / "kept")
    (tmp_path / "kept" / NAME).mkdir(parents=True)
    (tmp_path / "kept" / NAME / "left").touch()  # by an attempt that was killed before it reported
    state = {"steps": 3, "weights": torch.arange(4.0)}

    def work() -> Any:
        write_checkpoint(kept, NAME, {"step": 3}, MODEL, lambda: b"the model", state)
        return read_checkpoint(MODEL)

    model, read = in_worker(work)
    assert model == b"the model"
    assert read["steps"] == 3
    torch.testing.assert_close(read["weights"], state["weights"], rtol=0, atol=0)
    (one,) = reported
    assert one["checkpoint_dir_name"] == NAME
    modes = ray.train.CheckpointUploadMode
    if in_store:
        assert one["folder"].parent == tmp_path / "temporary"
        assert (one["checkpoint_upload_mode"], one["delete_local_checkpoint_after_upload"]) == (modes.ASYNC, True)
    else:
        assert one["folder"] == tmp_path / "kept" / NAME
        assert (one["checkpoint_upload_mode"], one["delete_local_checkpoint_after_upload"]) == (modes.NO_UPLOAD, False)
        assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [NAME]
        assert not any((tmp_path / "temporary").iterdir())
    assert sorted(path.name for path in one["folder"].iterdir()) == sorted([MODEL, STATE])


@pytest.mark.parametrize("in_store", [False, True])
def test_a_checkpoint_that_cannot_be_written_leaves_nothing(reported, tmp_path, in_store):
    def fail() -> bytes:
        raise OSError("the disk is full")

    (tmp_path / "kept").mkdir()

    def work() -> str:
        with pytest.raises(OSError, match="the disk is full") as raised:
            write_checkpoint(None if in_store else str(tmp_path / "kept"), NAME, {}, MODEL, fail, {})
        return str(raised.value)

    assert in_worker(work) == "the disk is full"
    assert not reported
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("kept", "temporary")]


def test_a_folder_that_the_node_does_not_share_is_named(reported, tmp_path):
    def work() -> str:
        with pytest.raises(DatusError) as raised:
            write_checkpoint(str(tmp_path / "elsewhere"), NAME, {}, MODEL, lambda: b"the model", {})
        return str(raised.value)

    assert "elsewhere is not there on" in (message := in_worker(work))
    assert "--out must be on storage that all nodes share" in message
    assert not (tmp_path / "elsewhere").exists()
