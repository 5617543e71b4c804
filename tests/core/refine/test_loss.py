"""The loss against its formula, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from datus2_ray.core.refine.loss import pixel_loss


def random_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2, 3, 5, 4), generator=generator)
    labels = torch.randint(0, 4, (2, 5, 4), generator=generator)
    return logits, labels.masked_fill(labels == 3, 255).to(torch.uint8)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_the_loss_is_its_formula(seed: int, exponent: float) -> None:
    logits, labels = random_batch(seed)
    loss, pixels = pixel_loss(logits, labels, exponent)
    expected = 0.0
    for image, row, column in np.argwhere(labels.numpy() != 255):
        p = logits[image, :, row, column].double().softmax(0)[int(labels[image, row, column])].item()
        expected += (1 - p**exponent) / exponent if exponent else -np.log(p)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert pixels == (labels != 255).sum()


@pytest.mark.parametrize(("dtype", "noise"), [(torch.uint8, 255), (torch.int32, 65535)])
def test_without_an_exponent_it_is_the_cross_entropy_for_narrow_and_wide_labels(dtype: torch.dtype, noise: int) -> None:
    logits, labels = random_batch(1)
    valid = labels != 255
    loss, pixels = pixel_loss(logits, labels.to(dtype).masked_fill(~valid, noise))
    target = labels[valid].long()
    torch.testing.assert_close(loss, functional.cross_entropy(logits.movedim(1, -1)[valid], target, reduction="sum"))
    assert pixels == valid.sum()


def test_cluster_255_is_no_noise_where_labels_are_wide() -> None:
    loss, pixels = pixel_loss(torch.zeros((1, 300, 2, 2)), torch.full((1, 2, 2), 255, dtype=torch.int32))
    assert pixels == 4
    torch.testing.assert_close(loss, torch.tensor(4 * np.log(300.0), dtype=torch.float32))


@pytest.mark.parametrize("exponent", [0.0, 0.7])
def test_noise_alone_gives_no_loss_and_no_gradient(exponent: float) -> None:
    logits, labels = random_batch(1)
    logits.requires_grad_()
    loss, pixels = pixel_loss(logits, torch.full_like(labels, 255), exponent)
    (loss / pixels.clamp(min=1)).backward()
    assert (loss, pixels) == (0, 0)
    assert not logits.grad.any()


def test_a_contradicted_pixel_pulls_less_under_the_generalised_loss() -> None:
    wrong = torch.tensor([[8.0, 0.0, 0.0]]).reshape(1, 3, 1, 1).requires_grad_()
    label = torch.tensor([[[1]]], dtype=torch.uint8)
    pulls = [torch.autograd.grad(pixel_loss(wrong, label, q)[0], wrong)[0].norm() for q in (0.0, 0.7)]
    assert pulls[1] < pulls[0] / 100
