"""More actors and workers than CPUs do not hang: on one CPU a run, pools that grow, and a pre-training end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.starts_ray

#: Seconds within which all must end; the stages' own guard against a hang is set lower.
LIMIT = 600

#: Runs one command after another on a Ray of its own, with one CPU.
COMMANDS = """
import json, sys
import ray
from datus2_ray.engine.ray_private import quick_start, without_side_actors
from datus2_ray.commands.pretrain import pretrain
from datus2_ray.commands.run import run
from datus2_ray.config.load import load

with quick_start():
    ray.init(num_cpus=1, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
without_side_actors()
outcomes = []
for command, flags, assignments in json.loads(sys.argv[1]):
    config = load(flags, preset="paper", assignments=tuple(assignments))
    if command == "run":
        summary = run(config)
        outcomes.append([summary["images"], summary["refinement"].get("workers")])
    else:
        facts = pretrain(config).facts
        outcomes.append([facts.images, facts.workers])
print("OUTCOMES", json.dumps(outcomes))
"""

SMALL = ("no_progress_seconds=240", "ingest.images_per_part=2", "cluster.restarts=1", "evaluate.token_restarts=1")
SMALL_RUN = (
    *SMALL, "discover.input_size=64", "discover.tau=0", "refine.steps=2", "refine.size=64", "refine.batch_size=4",
    "refine.min_images=4",
)  # fmt: skip
SMALL_TRAINING = (
    *SMALL, "pretrain.steps=2", "pretrain.warmup_steps=1", "pretrain.batch_size=4", "pretrain.image_size=32",
    "pretrain.global_size=32", "pretrain.local_size=16", "pretrain.local_views=1", "pretrain.dim=64",
    "pretrain.depth=1", "pretrain.prototypes=16", "pretrain.hidden_dim=16", "pretrain.bottleneck_dim=8",
    "pretrain.checkpoint_steps=2", "pretrain.held_out=2", "pretrain.workers=2",
)  # fmt: skip

#: In two pools side by side, which may grow, as holders of vectors, and in a training.
MORE_THAN_ONE = ("discover.actors=2", "discover.max_actors=3", "cluster.workers=2", "refine.workers=2")


@pytest.mark.slow
def test_every_command_ends_whatever_the_pools_and_workers(scenes: Path, tmp_path: Path) -> None:
    def command(name: str, out: str, *assignments: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        flags = {"source": str(scenes), "out": str(tmp_path / out), "dataset": "demo", "limit": 8}
        return name, flags | ({"backbone": "untrained:vit_tiny_patch16_224"} if name == "run" else {}), assignments

    commands = [
        command("run", "run", *SMALL_RUN, *MORE_THAN_ONE),
        command("pretrain", "pretrain", *SMALL_TRAINING),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)], capture_output=True, text=True, check=False,
        timeout=LIMIT,
    )  # fmt: skip
    lines = [line.removeprefix("OUTCOMES ") for line in ran.stdout.splitlines() if line.startswith("OUTCOMES ")]
    assert lines, ran.stdout + ran.stderr
    assert json.loads(lines[0]) == [[8, 2], [8, 2]]
