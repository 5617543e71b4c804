"""Workers of a training: as many as have something to do and somewhere to be."""

from __future__ import annotations

from typing import Any

import pytest

from datus2_ray.config.pretrain import PretrainConfig
from datus2_ray.config.refine import RefineConfig
from datus2_ray.engine.machines import Machines, Node, choose_device
from datus2_ray.engine.training_workers import pretrain_split, pretrain_workers, refine_workers
from datus2_ray.errors import DatusError, UsageError


def machine(cpus: int, gpus: int = 0, joined: bool = False) -> Machines:
    return Machines((Node(cpus, gpus, 64 * 2**30),), joined)


@pytest.mark.parametrize(
    ("settings", "images", "cpus", "gpus", "expected"),
    [
        ({}, 100, 8, 0, 1),
        ({}, 100, 8, 4, 4),
        ({}, 100, 64, 8, 4),  # eight workers would train on one image each
        ({"batch_size": 2}, 100, 8, 0, 1),
        ({"batch_size": 64}, 12, 64, 8, 3),
        ({"workers": 3}, 100, 2, 0, 3),
    ],
)
def test_every_worker_trains_on_two_images_or_more(
    settings: dict[str, Any], images: int, cpus: int, gpus: int, expected: int
) -> None:
    machines = machine(cpus, gpus)
    assert refine_workers(RefineConfig(**settings), images, machines, choose_device(machines, "auto")) == expected


@pytest.mark.parametrize(
    ("workers", "batch_size", "gpus", "reason"),
    [
        (5, 8, 0, "at least 2 images a step; set at most 4"),
        (3, 8, 2, "2 GPUs; set at most 2"),
        (100, 256, 0, r"68\.7 GB; set at most 91"),
    ],
)
def test_more_workers_than_can_be_are_refused(workers: int, batch_size: int, gpus: int, reason: str) -> None:
    machines = machine(8, gpus)
    with pytest.raises(DatusError, match=reason):
        refine_workers(
            RefineConfig(workers=workers, batch_size=batch_size), 1000, machines, choose_device(machines, "auto")
        )


def test_on_a_cluster_whose_gpus_are_yet_to_come_the_users_number_counts() -> None:
    empty = machine(4, joined=True)
    assert refine_workers(RefineConfig(), 100, empty, "cuda") == 1
    assert refine_workers(RefineConfig(workers=4), 100, empty, "cuda") == 4
    assert pretrain_workers(PretrainConfig(workers=4), empty, "cuda") == 4


def test_pretraining_has_a_worker_a_gpu_and_deals_the_batch_out_evenly() -> None:
    assert pretrain_workers(PretrainConfig(), machine(8), "cpu") == 1
    assert pretrain_workers(PretrainConfig(), machine(8, 4), "cuda") == 4
    assert pretrain_workers(PretrainConfig(), machine(8, 4), "cpu") == 1
    with pytest.raises(UsageError, match="multiple of the 3 workers"):
        pretrain_workers(PretrainConfig(), machine(8, 3), "cuda")
    with pytest.raises(DatusError, match=r"pretrain\.workers = 4, but the cluster has 3 GPUs"):
        pretrain_workers(PretrainConfig(workers=4), machine(8, 3), "cuda")


def test_a_batch_needs_its_images() -> None:
    assert pretrain_split(PretrainConfig(batch_size=8, held_out=128), 20) == (16, 4)
    with pytest.raises(UsageError, match=r"4 images to train on are fewer than pretrain\.batch_size = 8"):
        pretrain_split(PretrainConfig(batch_size=8), 5)
