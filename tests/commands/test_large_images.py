"""A run over images of many windows: a mask per image, at its own size, scored and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datus2_ray.commands.run import run
from datus2_ray.config.load import load
from datus2_ray.demo.scenes import render
from datus2_ray.store.facts import Ingested
from datus2_ray.store.run_folder import RunFolder
from tests.in_process import commands_without_ray

#: Side of a scene in pixels, and rows and columns of scenes in each mosaic.
SIDE, MOSAICS = 120, {"wide": (2, 5), "tall": (5, 2)}


def save(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, array in (("images", image), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / kind / f"{name}.png")


def make(folder: Path) -> None:
    """Write scenes, each as an image, and the same ones as mosaics."""
    number = 0
    for name, (rows, columns) in MOSAICS.items():
        scenes = [render(number + i, height=SIDE, width=SIDE) for i in range(rows * columns)]
        for scene in scenes:
            save(folder / "scenes", f"{number:02d}", *scene)
            number += 1
        by_row = [scenes[start : start + columns] for start in range(0, len(scenes), columns)]
        image, mask = (
            np.concatenate([np.concatenate([scene[layer] for scene in row], axis=1) for row in by_row])
            for layer in (0, 1)
        )
        save(folder / "mosaics", name, image, mask)


def test_mosaics_score_about_what_their_scenes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands_without_ray(monkeypatch)
    make(tmp_path)

    def accuracy(source: str, window: int) -> float:
        small = ("discover.grid=14", "discover.tau=1", "refine.min_images=2", "evaluate.token_kmeans=false")
        flags: dict[str, Any] = {"source": str(tmp_path / source), "out": str(tmp_path / f"run-{source}")}
        flags |= {"dataset": "demo", "export": {"format": "png"}}
        summary = run(load(flags, assignments=(*small, f"discover.window={window}")))
        return float(summary["metrics"]["refined"]["one_to_one"]["pixel_accuracy"])

    scenes, whole = accuracy("scenes", SIDE), accuracy("mosaics", 5 * SIDE)
    assert "windows" not in capsys.readouterr().err
    windows = accuracy("mosaics", SIDE)
    assert f"(the largest has {5 * SIDE}) are seen in overlapping windows of {SIDE};" in capsys.readouterr().err
    assert whole < windows - 0.1
    assert abs(scenes - windows) < 0.12
    assert RunFolder(str(tmp_path / "run-mosaics")).require(Ingested).facts.longest == 5 * SIDE
    current = RunFolder(str(tmp_path / "run-mosaics")).current()["export"][:12]
    masks = Path(tmp_path, "run-mosaics", "export", current).rglob("masks/**/*.png")
    sizes = {file.stem: Image.open(file).size for file in masks}
    assert sizes == {name: (columns * SIDE, rows * SIDE) for name, (rows, columns) in MOSAICS.items()}
