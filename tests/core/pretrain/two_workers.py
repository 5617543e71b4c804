"""One of two workers of a training without Ray: `two_workers.py RANK FOLDER`, for test_step.py.

FOLDER holds `jobs.pt`, recipes by name, and `images.pt`, their batch; the curves go to `RANK.pt`.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

from datus2_ray.core.pretrain.model import build_start
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.step import Pretraining


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=2)
    images = torch.load(folder / "images.pt")
    curves = {}
    for name, settings in torch.load(folder / "jobs.pt").items():
        recipe = Recipe(**settings)
        build = partial(build_start, recipe, None)
        pretraining = Pretraining(recipe, 0, build, torch.device("cpu"), DistributedDataParallel)
        half = images[rank * len(images) // 2 :][: len(images) // 2]
        results = [pretraining.step(half, rank, 2) for _ in range(recipe.steps)]
        curve = torch.stack([torch.stack(list(vars(result).values())) for result in results])
        torch.distributed.all_reduce(curve)
        curves[name] = curve / 2
    torch.save(curves, folder / f"{rank}.pt")
    torch.distributed.barrier()
    # The results are written. Taking the group down may abort a process: a thread of gloo's is not always joined.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
