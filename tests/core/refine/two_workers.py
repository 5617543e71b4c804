"""One of two workers that fit a layer without Ray: `two_workers.py RANK FOLDER`, for test_em.py.

FOLDER holds `groups.pt`, all groups by their number, and `recipe.pt`; what was fitted goes to `RANK.pt`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed

from datus2_ray.core.refine.em import Recipe, fit
from datus2_ray.core.refine.token_groups import Group
from datus2_ray.core.refine.token_layer import TokenLayerSpec


def add_up(values: torch.Tensor) -> torch.Tensor:
    torch.distributed.all_reduce(values)
    return values


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'group'}", rank=rank, world_size=2)
    groups = {number: Group(**group) for number, group in torch.load(folder / "groups.pt").items()}
    half = {number: group for number, group in groups.items() if number % 2 == rank}
    fitted = fit(half, TokenLayerSpec(12, 4, {}), 0, Recipe(**torch.load(folder / "recipe.pt")), add_up)
    weights = list(fitted.layer.state_dict().values())
    torch.save({"weights": weights, "losses": fitted.losses, "agreements": fitted.agreements}, folder / f"{rank}.pt")
    torch.distributed.barrier()
    # The results are written. Taking the group down may abort a process: a thread of gloo's is not always joined.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
