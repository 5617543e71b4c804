"""The refinement under Ray Train against a plain PyTorch loop on data that lies decoded in memory, in one run.

    python benchmarks/refinement.py [--images N] [--repeats R]

Both train the same DeepLabV3 from the same weights on the same initial masks of rendered scenes, with the same
augmentation, optimiser and batch, and validate after every epoch. Ours also decodes the images, in the first pass, and
writes checkpoints, with as many workers as it takes by itself; the loop is one process with a thread per CPU. Of ours
the time of 5 and of 10 epochs is measured: the difference is the steady state, the rest is the start of Ray Train and
its workers, shown apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import torch

from datus2_ray.config.load import load
from datus2_ray.core.refine.augmentation import augment
from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter
from datus2_ray.core.refine.file import from_bytes
from datus2_ray.core.refine.loss import pixel_loss
from datus2_ray.demo.write import write_demo
from datus2_ray.engine.machines import Machines
from datus2_ray.engine.run import Run, open_run
from datus2_ray.engine.session import start_ray
from datus2_ray.sources.list_source import list_source
from datus2_ray.stages.refine.data import Pair, pairs_of, stack
from datus2_ray.stages.refine.training import Training
from datus2_ray.store import storage
from datus2_ray.store.facts import Labelled, Refined

CLUSTERS = 6

#: refine makes 5 to 10 epochs of its steps, one pass over the images each: at both ends they are equally long.
EPOCHS = 5


def decoded(training: Training, share: int) -> list[Pair]:
    """Decode a share's images and masks as the refinement does, without Ray."""
    read = training.read(share)
    blocks = (read(pa.table({"part": [part]})) for part in training.parts)
    return [pair for block in blocks for pairs in pairs_of(block, read.size) for pair in pairs]


def plain_loop(training: Training, model: DeepLabV3Segmenter) -> float:
    """Return the seconds of a loop that a user would write, over all of the training's images and steps."""
    torch.set_num_threads(os.cpu_count() or 1)
    config, batch = training.config, training.batch_size * training.workers
    shares = range(training.workers)
    pairs = [pair for share in shares for pair in decoded(training, share)]
    held_out = [pair for share in shares for pair in decoded(training, training.workers + share)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(0)
    begin = time.perf_counter()
    for step in range(config.steps):
        model.train()
        chosen = torch.randint(len(pairs), (batch,), generator=generator).tolist()
        images, masks = augment(*map(torch.from_numpy, stack([pairs[i] for i in chosen])), generator)
        loss, pixels = pixel_loss(model(images), masks)
        optimiser.zero_grad()
        (loss / pixels.clamp(min=1)).backward()
        optimiser.step()
        if (step + 1) % training.epoch_steps == 0:
            model.eval()
            with torch.no_grad():
                for first in range(0, len(held_out), batch):
                    images, masks = map(torch.from_numpy, stack(held_out[first : first + batch]))
                    pixel_loss(model(images), masks)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_demo(Path(scratch) / "in", arguments.images, seed=0)
        start_ray(600)
        from datus2_ray.engine.execute import execute, execute_stage
        from datus2_ray.stages import RUN
        from datus2_ray.stages.refine.refine import REFINE, plan_training
        from datus2_ray.stages.refine.start import write_start

        flags = {"source": f"{scratch}/in/images", "out": f"{scratch}/out", "clusters": CLUSTERS}
        config = load(flags, preset="paper", assignments=("discover.descriptor=tokens",))
        with open_run(config, "run", list_source(config), Machines.now()) as opened:
            before = RUN[: [stage.facts for stage in RUN].index(Labelled) + 1]
            labelled, _ = execute(opened, before)
            batch = config.refine.batch_size
            steps = EPOCHS * (int(arguments.images * (1 - config.refine.held_out)) // batch)

            def with_steps(count: int) -> Run:
                refine = config.refine.model_copy(update={"steps": count})
                return replace(labelled, config=config.model_copy(update={"refine": refine}))

            ours: dict[int, list[float]] = {steps: [], 2 * steps: []}
            plain: list[float] = []
            for _ in range(arguments.repeats):
                for count in ours:
                    run = with_steps(count)
                    storage.remove(run.folder.path(Refined.stage))
                    begin = time.perf_counter()
                    execute_stage(run, REFINE)
                    ours[count].append(time.perf_counter() - begin)
                    print(f"refine, {count} steps: {ours[count][-1]:.1f} s", flush=True)
                start = f"{scratch}/start.safetensors"
                training = plan_training(run, "cpu", start)
                network = write_start(start, config, CLUSTERS, "cpu")
                plain.append(plain_loop(training, from_bytes(storage.read_bytes(start))))
                print(f"plain loop, {2 * steps} steps: {plain[-1]:.1f} s", flush=True)
    short, long = (statistics.median(seconds) for seconds in ours.values())
    loop = statistics.median(plain) / (2 * steps)
    steady = (long - short) / steps
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}; {network['encoder']}, "
          f"{arguments.images} images, batches of {batch}, {training.workers} workers")  # fmt: skip
    print(f"plain loop, {2 * steps} steps:          {loop:.3f} s per step")
    print(f"refine, steady ({steps} steps more):  {steady:.3f} s per step, {steady / loop:.2f} of the loop")
    print(f"refine, whole of {2 * steps} steps:     {long:.1f} s, {long / (2 * steps) / loop:.2f} of the loop; start "
          f"{short - steps * steady:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
