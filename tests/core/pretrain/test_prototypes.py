from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightly.loss import DINOLoss, IBOTPatchLoss
from lightly.loss.swav_loss import sinkhorn
from torch.nn import functional

from datus2_ray.core.pretrain.prototypes import balanced_assignments, cls_cross_entropy, patch_cross_entropy


def cosines(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@given(st.integers(0, 1000), st.integers(16, 200), st.integers(2, 16))
def test_every_output_is_assigned_and_every_prototype_used_alike(seed, rows, prototypes):
    assignments = balanced_assignments(cosines(seed, rows, prototypes), 0.5)
    torch.testing.assert_close(assignments.sum(1), torch.ones(rows))
    assert assignments.sum(0).max() < 1.2 * rows / prototypes


def test_the_assignments_are_those_of_lightly():
    logits = cosines(3, 100, 12)
    torch.testing.assert_close(balanced_assignments(logits, 0.05), sinkhorn(logits, 3, 0.05), atol=1e-5, rtol=1e-4)


def _assign_in_a_group(rank: int, file: str, logits: torch.Tensor, cut: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    found = balanced_assignments(logits[:cut] if rank == 0 else logits[cut:], 0.05)
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_workers_with_unlike_numbers_of_rows_assign_as_one_does(tmp_path):
    logits = cosines(4, 60, 8)
    arguments = (str(tmp_path / "group"), logits, 13, tmp_path)
    torch.multiprocessing.start_processes(_assign_in_a_group, arguments, nprocs=2, start_method="fork")
    together = torch.cat([torch.load(tmp_path / f"{rank}.pt") for rank in range(2)])
    torch.testing.assert_close(together, balanced_assignments(logits, 0.05), atol=1e-6, rtol=1e-5)


def test_nothing_to_assign_is_allowed():
    assert balanced_assignments(torch.zeros(0, 8), 0.05).shape == (0, 8)
    wanted = torch.zeros(2, 3, 3, dtype=torch.bool)
    assert float(patch_cross_entropy(torch.zeros(0, 8), torch.zeros(0, 8), wanted)) == 0


def test_the_cls_loss_is_lightly_s():
    teacher, student = cosines(1, 2, 5, 8), cosines(2, 4, 5, 8)
    reference = DINOLoss(8)  # with its centre still at zero
    expected = reference(list(teacher), list(student), teacher_temp=0.07)
    targets = [functional.softmax(view / 0.07, dim=1) for view in teacher]
    assert float(cls_cross_entropy(targets, list(student))) == pytest.approx(float(expected), rel=1e-6)


def test_the_patch_loss_is_lightly_s():
    wanted = torch.rand((6, 4, 4), generator=torch.Generator().manual_seed(0)) < 0.4
    teacher, student = cosines(1, int(wanted.sum()), 8), cosines(2, int(wanted.sum()), 8)
    expected = IBOTPatchLoss(8)(teacher, student, wanted, teacher_temp=0.05)
    targets = functional.softmax(teacher / 0.05, dim=1)
    assert float(patch_cross_entropy(targets, student, wanted)) == pytest.approx(float(expected), rel=1e-6)
