"""No documented configuration hangs on one or two CPUs: it ends with a result, or is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds within which all commands of a machine must end; the stages' own guard against a hang is set lower.
LIMIT = 1740

#: Does commands one after the other on a Ray of so many CPUs; what runs do not share is the actors, not Ray itself.
COMMANDS = """
import json, sys
import ray
from datus2_ray import pipeline, pretraining
from datus2_ray.config import load
from datus2_ray.errors import DatusError

cpus, commands = json.loads(sys.argv[1])
ray.init(num_cpus=cpus, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
for command, flags, assignments in commands:
    try:
        config = load(flags, preset="demo", assignments=tuple(assignments))
        if command == "run":
            summary = pipeline.run(config)
            outcome = {"images": summary["images"], "workers": summary["refinement"].get("workers")}
        else:
            outcome = {"steps": pretraining.pretrain(config)[1].rows_out}
    except DatusError as error:
        outcome = {"refused": str(error)}
    print("OUTCOME", json.dumps(outcome), flush=True)
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


def outcomes(scenes: Path, out: Path, cpus: int, *commands: tuple[str, ...]) -> list[dict[str, object]]:
    """Do commands (``run`` or ``pretrain``, and settings), each in a folder of its own, and give how each ended."""
    asked = []
    for number, (command, *assignments) in enumerate(commands):
        flags = {"source": str(scenes), "out": str(out / str(number)), "dataset": "demo", "limit": 12}
        if command == "run":
            flags["backbone"] = "untrained:vit_tiny_patch16_224"
        asked.append([command, flags, [*(SMALL_RUN if command == "run" else SMALL_TRAINING), *assignments]])
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps([cpus, asked])],
        capture_output=True, text=True, check=False, timeout=LIMIT, env=dict(os.environ),
    )  # fmt: skip
    told = [line.removeprefix("OUTCOME ") for line in ran.stdout.splitlines() if line.startswith("OUTCOME ")]
    assert len(told) == len(commands), ran.stdout + ran.stderr
    return [json.loads(line) for line in told]


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 60)
def test_on_one_cpu_each_command_ends_or_is_refused(scenes: Path, tmp_path: Path) -> None:
    done = outcomes(
        scenes,
        tmp_path,
        1,
        ("run", "device=cuda"),
        ("run", "refine.workers=3"),
        ("run", "discover.gpus_per_actor=2"),
        ("run", "discover.actors=3", "refine.workers=2", "cluster.workers=3"),
        ("run", "discover.actors=1", "discover.max_actors=3"),  # a pool that grows, and all else left alone
        ("pretrain", "pretrain.workers=2"),
    )
    reasons = ("Ray sees no GPU", "at least 2 images a step", "less than or equal to 1")
    for number, reason in enumerate(reasons):
        assert reason in str(done[number]["refused"])
        assert not (tmp_path / str(number)).exists()
    assert done[3:5] == [{"images": 12, "workers": 2}, {"images": 12, "workers": 1}]
    assert "refused" not in done[5]


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 60)
def test_on_two_cpus_each_command_ends(scenes: Path, tmp_path: Path) -> None:
    run, pretrained = outcomes(
        scenes,
        tmp_path,
        2,
        ("run", "discover.actors=3", "refine.workers=2", "cluster.workers=3"),
        ("pretrain", "pretrain.workers=2"),
    )
    assert run == {"images": 12, "workers": 2}
    assert "refused" not in pretrained
