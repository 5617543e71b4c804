"""The average of weights: what it is after some steps, that it resumes exactly, and what it shares."""

from __future__ import annotations

import copy

import pytest
import torch

from datus2_ray.core.refine.average import average_weights


def small() -> torch.nn.Module:
    """Build a layer with batch norm, whose statistics are averaged as well."""
    return torch.nn.Sequential(torch.nn.Conv2d(8, 3, 1), torch.nn.BatchNorm2d(3))


def set_all(segmenter: torch.nn.Module, value: float) -> None:
    """Set all weights and batch-norm statistics."""
    with torch.no_grad():
        for tensor in segmenter.state_dict().values():
            tensor.fill_(value)


def values(segmenter: torch.nn.Module) -> set[float]:
    state = segmenter.state_dict().values()
    return {value for tensor in state if tensor.is_floating_point() for value in tensor.flatten().tolist()}


def test_it_is_the_mean_at_first_and_a_running_average_then() -> None:
    segmenter = small()
    average = average_weights(segmenter, 0.75)
    for number in range(4):
        set_all(segmenter, float(number))
        average.update_parameters(segmenter)
    assert values(average.module) == {1.5}
    set_all(segmenter, 4.0)
    average.update_parameters(segmenter)
    assert values(average.module) == {0.75 * 1.5 + 0.25 * 4}


@pytest.mark.parametrize("done", [0, 2, 6])
def test_it_resumes_as_if_never_stopped(done: int) -> None:
    segmenter = small()
    whole, first = (average_weights(segmenter, 0.75) for _ in range(2))
    second = average_weights(small(), 0.75)
    for number in range(8):
        if number == done:
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        with torch.no_grad():
            for tensor in segmenter.parameters():
                tensor.add_(torch.full_like(tensor, 0.1 * number))
        whole.update_parameters(segmenter)
        (first if number < done else second).update_parameters(segmenter)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_it_neither_learns_nor_follows_before_it_is_updated() -> None:
    segmenter = small()
    average = average_weights(segmenter, 0.75)
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    before = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    set_all(segmenter, 1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in average.state_dict().items())
