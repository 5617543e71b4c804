"""Scores of several runs: their mean, and a refusal where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.evaluate import read_metrics
from datus2_ray.core.score.confusion import score
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.run_folder import FORMAT


def write_run(
    folder: Path, seed: int = 0, correct: int = 9, config: dict[str, Any] | None = None, **metrics: Any
) -> str:
    """Write what `evaluate` reads of a finished run of two classes."""
    counts = np.array([[correct, 10 - correct, 0], [0, 10, 0]], dtype=np.int64)
    scores = {"classes": ["a", "b"], "clusters": 2, "seed": seed, "images": 3, "initial": score(counts), **metrics}
    storage.write_json(str(folder / "run.json"), {"format": FORMAT, "version": "0", "command": "run", "stages": {}})
    storage.write_json(str(folder / "summary.json"), {"metrics": None if metrics.get("images") == 0 else scores})
    storage.write_json(
        str(folder / "config.json"), {"source": "/set", "dataset": "demo", "split": None, **(config or {})}
    )
    return str(folder)


def test_runs_of_several_seeds_have_a_mean_and_a_deviation(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / str(seed), seed, correct) for seed, correct in enumerate((6, 8))]
    done = CliRunner().invoke(app, ["evaluate", *runs, "--out", str(tmp_path / "scores.json")], catch_exceptions=False)
    assert "over 2 runs, seeds 0, 1" in done.output
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["mean"]["initial"]["one_to_one"]["pixel_accuracy"] == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"clusters": 3}, "differ in their K: 2 and 3"),
        ({"classes": ["a", "c"]}, "differ in their classes: a, b and a, c"),
        ({"images": 4}, "differ in their images: 3 and 4"),
        ({"protocol": "stego"}, "differ in their protocol: datus2 and stego"),
        ({"config": {"source": "/other"}}, "differ in their images: /set demo and /other demo"),
        ({"config": {"split": "val"}}, "differ in their images: /set demo and /set demo val"),
        ({"images": 0}, "has no scores: its images have no ground truth"),
    ],
)
def test_runs_that_have_no_mean_are_refused_by_both_names(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    runs = [write_run(tmp_path / "one"), write_run(tmp_path / "two", **other)]
    with pytest.raises(UsageError, match=message) as refused:
        read_metrics(runs)
    assert runs[1] in str(refused.value)
    assert runs[0] in str(refused.value) or "no scores" in message
    assert len(str(refused.value).splitlines()) == 1
