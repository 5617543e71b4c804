"""One of two workers that learn a head without Ray: `two_workers.py RANK FOLDER`, for test_fit.py.

FOLDER holds `given.pt`, all images by their number and the recipe; what was learned goes to `RANK.pt`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed

from datus2_ray.core.head.fit import SHARES, learn
from datus2_ray.core.head.network import HeadSpec
from datus2_ray.core.head.recipes import Recipe


def add_up(values: torch.Tensor) -> torch.Tensor:
    torch.distributed.all_reduce(values)
    return values


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=2)
    given = torch.load(folder / "given.pt")
    images = {number: tokens for number, tokens in given["images"].items() if (number < 7) == (rank == 0)}
    shares = range(rank, SHARES, 2)
    recipe = Recipe(**given["recipe"])
    learned = learn(images, len(given["images"]), HeadSpec(12, 8, {}), 0, recipe, add_up, shares)
    weights = list(learned.head.state_dict().values())
    torch.save({"weights": weights, "losses": learned.losses, "shifts": learned.shifts}, folder / f"{rank}.pt")
    torch.distributed.barrier()
    # The results are written. Taking the group down may abort a process: a thread of gloo's is not always joined.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
