"""The parts of self-training against what their formulas say, written out slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter, pixel_cross_entropy
from datus2_ray.core.refine.self_training import (
    SelfTraining,
    class_weights,
    confident_labels,
    count_labels,
    pixel_loss,
    update_teacher,
)

SPEC = SegmenterSpec("resnet18", 16, 3, 64)


def random_batch(seed: int, dtype: torch.dtype = torch.uint8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2, 3, 5, 4), generator=generator)
    labels = torch.randint(0, 4, (2, 5, 4), generator=generator)
    noise = 255 if dtype == torch.uint8 else 65535
    return logits, labels.masked_fill(labels == 3, noise).to(dtype)


@given(st.lists(st.integers(0, 10**7), min_size=2, max_size=40).filter(any))
def test_rare_classes_weigh_more_and_a_pixel_weighs_one_on_average(pixels: list[int]) -> None:
    weights = class_weights(torch.tensor(pixels)).double()
    counts = torch.tensor(pixels, dtype=torch.float64)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-5)
    order = np.argsort(pixels, kind="stable")
    assert (np.diff(weights.numpy()[order]) <= 1e-12).all()
    largest, smallest = max(pixels), max(1, min(pixels))
    assert weights.max() / weights.min() == pytest.approx((largest / smallest) ** 0.5, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_are_counted_without_noise(dtype: torch.dtype) -> None:
    _, labels = random_batch(0, dtype)
    assert count_labels(labels, 3).tolist() == [(labels == label).sum() for label in range(3)]


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.booleans())
def test_the_loss_is_its_formula(seed: int, exponent: float, weighted: bool) -> None:
    logits, labels = random_batch(seed)
    weights = torch.tensor([0.5, 1.0, 4.0]) if weighted else None
    loss, pixels = pixel_loss(logits, labels, weights, exponent)
    expected = 0.0
    for image, row, column in np.argwhere(labels.numpy() != 255):
        label = int(labels[image, row, column])
        p = logits[image, :, row, column].double().softmax(0)[label].item()
        one = (1 - p**exponent) / exponent if exponent else -np.log(p)
        expected += one * (1.0 if weights is None else weights[label].item())
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert pixels == (labels != 255).sum()


def test_as_it_was_without_either_and_nothing_where_all_is_noise() -> None:
    logits, labels = random_batch(1)
    assert pixel_loss(logits, labels)[0] == pixel_cross_entropy(logits, labels)[0]
    logits.requires_grad_()
    loss, pixels = pixel_loss(logits, torch.full_like(labels, 255), torch.ones(3), 0.7)
    loss.backward()
    assert (loss, pixels) == (0, 0)
    assert not logits.grad.any()


def test_a_contradicted_pixel_pulls_less_under_the_generalised_loss() -> None:
    wrong = torch.tensor([[8.0, 0.0, 0.0]]).reshape(1, 3, 1, 1).requires_grad_()
    label = torch.tensor([[[1]]], dtype=torch.uint8)
    pulls = [torch.autograd.grad(pixel_loss(wrong, label, None, q)[0], wrong)[0].norm() for q in (0.0, 0.7)]
    assert pulls[1] < pulls[0] / 100


@given(st.integers(0, 100), st.floats(0, 1))
def test_only_sure_labels_are_left(seed: int, confidence: float) -> None:
    logits, _ = random_batch(seed)
    labels = confident_labels(logits, confidence, torch.uint8)
    probability, best = logits.softmax(1).max(1)
    assert (labels[probability >= confidence] == best[probability >= confidence]).all()
    assert (labels[probability < confidence] == 255).all()


def test_the_teacher_is_the_mean_at_first_and_a_running_average_then() -> None:
    students = [torch.nn.BatchNorm1d(2) for _ in range(5)]
    for number, student in enumerate(students):
        student.weight.data.fill_(float(number))
        student.running_mean.fill_(10.0 * number)
        student.num_batches_tracked.fill_(number)
    teacher = torch.nn.BatchNorm1d(2)
    for number, student in enumerate(students[:4]):
        update_teacher(teacher, student, 0.75, number)
    assert teacher.weight.tolist() == pytest.approx([1.5, 1.5])
    update_teacher(teacher, students[4], 0.75, 4)
    assert teacher.weight.tolist() == pytest.approx([0.75 * 1.5 + 0.25 * 4] * 2)
    assert teacher.running_mean.tolist() == pytest.approx([10 * (0.75 * 1.5 + 0.25 * 4)] * 2)
    assert teacher.num_batches_tracked == 4


def test_labels_of_a_later_round_are_those_of_the_segmenter_that_was_frozen() -> None:
    student = build_segmenter(SPEC, seed=0)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    initial = torch.zeros((2, 64, 64), dtype=torch.uint8)
    selves = SelfTraining(student, momentum=0.0, confidence=0.0)
    assert selves.kept is student
    assert (selves.targets(images, initial) == initial).all()
    selves.begin_round()
    made = selves.targets(images, initial)
    assert (made == student.eval()(images).argmax(1)).all()
    with torch.no_grad():
        for value in student.parameters():
            value.mul_(-1.0)
    assert (selves.targets(images, initial) == made).all()

    # What is kept brings back the same three segmenters.
    other = SelfTraining(build_segmenter(SPEC, seed=1), momentum=0.0, confidence=0.0)
    other.load_state_dict(selves.kept.state_dict(), selves.state_dict())
    assert (other.targets(images, initial) == made).all()
    assert all(torch.equal(a, b) for a, b in zip(other.kept.parameters(), student.parameters(), strict=True))
