"""For the tests of trainings: local mode of Ray Train, which trains in this process, and its workers elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray.train
import ray.train.torch

from tests.processes import processes_titled


def train_here(train: Callable[[dict[str, Any]], dict[str, Any]], plan: Any) -> dict[str, Any]:
    """Return the history of a training by a plan, run in this process by the local mode of Ray Train."""
    trainer = ray.train.torch.TorchTrainer(
        lambda config: train(config),
        train_loop_config={"plan": plan, "watcher": None, "checkpoints": None},
        scaling_config=ray.train.ScalingConfig(num_workers=0),
    )
    return trainer.fit().return_value


@pytest.fixture
def kept_checkpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes local mode keep its checkpoints in a folder of some name."""

    def keep(name: str) -> Path:
        def report(metrics: dict[str, Any], checkpoint: Any, checkpoint_dir_name: str, **modes: Any) -> None:
            shutil.move(checkpoint.path, tmp_path / name / checkpoint_dir_name)

        monkeypatch.setattr(ray.train, "report", report)
        return tmp_path / name

    return keep


def training_processes() -> list[psutil.Process]:
    """Return the training workers of this process's own Ray, and of no other on the machine."""
    return processes_titled("RayTrainWorker")


def wait_for(happened: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
