"""No documented configuration hangs on one or two CPUs: it ends with a result, or is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds within which a run must end; the stages' own guard against a hang is set lower.
LIMIT = 600

RUN = """
import json, sys, warnings
import ray
from datus2_ray.commands import run, pretrain
from datus2_ray.config.load import load
from datus2_ray.errors import DatusError

cpus, command, flags, assignments = json.loads(sys.argv[1])
ray.init(num_cpus=cpus, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
try:
    config = load(flags, preset="paper", assignments=tuple(assignments))
    if command == "run":
        summary = run.run(config)
        outcome = {"images": summary["images"], "workers": summary["refinement"].get("workers")}
    else:
        outcome = {"steps": pretrain.pretrain(config)[1].rows_out}
except DatusError as error:
    outcome = {"refused": str(error)}
print("OUTCOME", json.dumps(outcome))
"""

SMALL_RUN = (
    "no_progress_seconds=240", "ingest.images_per_part=4", "refine.steps=2", "refine.size=64", "refine.batch_size=4",
    "refine.min_images=4", "evaluate.token_restarts=1", "cluster.restarts=1",
)  # fmt: skip
SMALL_TRAINING = (
    "no_progress_seconds=240", "pretrain.steps=2", "pretrain.warmup_steps=1", "pretrain.batch_size=4",
    "pretrain.image_size=32", "pretrain.global_size=32", "pretrain.local_size=16", "pretrain.local_views=1",
    "pretrain.dim=64", "pretrain.depth=1", "pretrain.prototypes=16", "pretrain.hidden_dim=16",
    "pretrain.bottleneck_dim=8", "pretrain.checkpoint_steps=2", "pretrain.held_out=4",
)  # fmt: skip


def ended(scenes: Path, out: Path, cpus: int, command: str, *assignments: str) -> dict[str, object]:
    flags = {"source": str(scenes), "out": str(out), "dataset": "demo", "limit": 12}
    if command == "run":
        flags["backbone"] = "untrained:vit_tiny_patch16_224"
    ran = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([cpus, command, flags, assignments])],
        capture_output=True, text=True, check=False, timeout=LIMIT, env=dict(os.environ),
    )  # fmt: skip
    told = [line.removeprefix("OUTCOME ") for line in ran.stdout.splitlines() if line.startswith("OUTCOME ")]
    assert told, ran.stdout + ran.stderr
    outcome: dict[str, object] = json.loads(told[0])
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize(("cpus", "actors", "workers"), [(1, 3, 2), (2, 3, 2)])
def test_a_run_ends_whatever_the_pools_and_workers(
    scenes: Path, tmp_path: Path, cpus: int, actors: int, workers: int
) -> None:
    pool = (f"discover.actors={actors}", f"refine.workers={workers}", f"cluster.workers={actors}")
    assert ended(scenes, tmp_path / "run", cpus, "run", *SMALL_RUN, *pool) == {"images": 12, "workers": workers}


@pytest.mark.slow
def test_a_run_ends_on_one_cpu_with_a_pool_that_grows_and_all_else_left_alone(scenes: Path, tmp_path: Path) -> None:
    grown = ("discover.actors=1", "discover.max_actors=3")
    assert ended(scenes, tmp_path / "run", 1, "run", *SMALL_RUN, *grown) == {"images": 12, "workers": 1}


@pytest.mark.slow
@pytest.mark.parametrize(("cpus", "workers"), [(1, 2), (2, 2)])
def test_a_pretraining_ends_whatever_the_workers(scenes: Path, tmp_path: Path, cpus: int, workers: int) -> None:
    outcome = ended(scenes, tmp_path / "run", cpus, "pretrain", *SMALL_TRAINING, f"pretrain.workers={workers}")
    assert "refused" not in outcome


@pytest.mark.slow
@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("device=cuda", "Ray sees no GPU"),
        ("refine.workers=3", "at least 2 images a step"),
        ("discover.gpus_per_actor=2", "less than or equal to 1"),
    ],
)
def test_what_cannot_run_is_refused_and_does_not_hang(
    scenes: Path, tmp_path: Path, assignment: str, message: str
) -> None:
    assert message in str(ended(scenes, tmp_path / "run", 1, "run", *SMALL_RUN, assignment)["refused"])
    assert not (tmp_path / "run").exists()
