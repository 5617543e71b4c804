"""EM on segments: the gradient, what is recovered under wrong labels, and that the seed alone decides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from datus2_ray.core.refine.em import Fitted, Recipe, fit, sum_gradients
from datus2_ray.core.refine.token_groups import GROUPS, Group
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec
from datus2_ray.engine.training_workers import TOKEN_WORKERS
from datus2_ray.errors import DatusError

pytestmark = pytest.mark.usefixtures("one_thread")

DIM, CLASSES = 12, 4
SPEC = TokenLayerSpec(DIM, CLASSES, {})
QUICK = Recipe(steps=60, batch=512)


def planted(wrong: float, segments: int = 60, seed: int = 0) -> tuple[dict[int, Group], dict[int, torch.Tensor]]:
    """Make groups of segments of four classes, some with a wrong label; return them and the true classes."""
    rng = np.random.default_rng(seed)
    means = 3 * rng.normal(size=(CLASSES, DIM))
    scales = 10.0 ** rng.integers(-2, 3, DIM)  # coordinates of very different size
    groups, truths = {}, {}
    for number in range(GROUPS):
        truth = rng.integers(0, CLASSES, segments)
        sizes = rng.integers(1, 30, segments)
        tokens = (means[np.repeat(truth, sizes)] + rng.normal(size=(sizes.sum(), DIM))) * scales + 5 * scales
        labels = np.where(rng.random(segments) < wrong, (truth + 1) % CLASSES, truth)
        groups[number] = Group(
            torch.from_numpy(tokens.astype(np.float16)), torch.from_numpy(sizes), torch.from_numpy(labels)
        )
        truths[number] = torch.from_numpy(truth)
    return groups, truths


def weights_of(fitted: Fitted) -> list[torch.Tensor]:
    return list(fitted.layer.state_dict().values())


def same(one: Fitted, other: Fitted) -> bool:
    equal = all(torch.equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))
    return equal and (one.losses, one.agreements, one.tokens) == (other.losses, other.agreements, other.tokens)


def accuracy(fitted: Fitted, groups: Mapping[int, Group], truths: Mapping[int, torch.Tensor]) -> float:
    right = [
        fitted.layer(group.tokens).argmax(1) == truths[number].repeat_interleave(group.sizes)
        for number, group in groups.items()
    ]
    return float(torch.cat(right).double().mean())


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_the_gradient_is_that_of_the_loss(seed: int, exponent: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = TokenLayer(SPEC)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    tokens = torch.randn((7, DIM), generator=generator)
    labels = torch.randint(CLASSES, (7,), generator=generator)
    found = sum_gradients(layer, tokens, labels, exponent)
    p = functional.linear(tokens, layer.weight, layer.bias).softmax(1)[range(7), labels]
    loss = ((1 - p**exponent) / exponent if exponent else -p.log()).sum()
    expected = [value.flatten() for value in (*torch.autograd.grad(loss, (layer.weight, layer.bias)), loss.detach())]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-3, atol=1e-4)


def test_wrong_labels_are_outvoted() -> None:
    groups, truths = planted(wrong=0.3)
    fitted = fit(groups, SPEC, 0, QUICK)
    assert accuracy(fitted, groups, truths) > 0.97
    assert fitted.agreements[0] == pytest.approx(0.7, abs=0.05)  # the rest changed
    assert fitted.agreements[-1] > 0.98
    assert fitted.tokens == sum(int(group.sizes.sum()) for group in groups.values())
    assert fitted.losses[0][-1] < fitted.losses[0][0]


def test_it_ends_with_the_first_round_that_changes_little() -> None:
    groups, _ = planted(wrong=0.0)
    assert len(fit(groups, SPEC, 0, replace(QUICK, agreement=0.9)).agreements) == 1
    rounds = fit(groups, SPEC, 0, replace(QUICK, agreement=1.1))
    assert len(rounds.agreements) == len(rounds.losses) == QUICK.rounds
    assert {len(losses) for losses in rounds.losses} == {QUICK.steps}


def test_tokens_are_standardised_by_their_mean_and_deviation() -> None:
    groups, _ = planted(wrong=0.0)
    layer = fit(groups, SPEC, 0, replace(QUICK, steps=1, rounds=1)).layer
    tokens = torch.cat([group.tokens for group in groups.values()]).double()
    torch.testing.assert_close(layer.mean, tokens.mean(0).float())
    torch.testing.assert_close(layer.deviation, tokens.std(0, correction=0).float())


def test_a_constant_coordinate_and_a_group_without_tokens_do_no_harm() -> None:
    groups, truths = planted(wrong=0.2)
    for number, group in groups.items():
        group.tokens[:, 3] = 700.0
        if number == 2:
            empty = torch.empty(0, dtype=torch.int64)
            groups[number] = Group(group.tokens[:0], empty, empty)
            truths[number] = empty
    fitted = fit(groups, SPEC, 0, QUICK)
    assert fitted.layer.deviation[3] == 1
    assert accuracy(fitted, groups, truths) > 0.97


def test_the_seed_decides_and_threads_do_not() -> None:
    groups, _ = planted(wrong=0.3)
    first = fit(groups, SPEC, 0, QUICK)
    steps: list[int] = []
    assert same(first, fit(groups, SPEC, 0, QUICK, threads=4, on_step=steps.append))
    assert steps == list(range(1, QUICK.steps * len(first.losses) + 1))
    assert not same(first, fit(groups, SPEC, 1, QUICK))


def test_two_processes_fit_the_bits_of_one(tmp_path: Path) -> None:
    groups, _ = planted(wrong=0.3)
    torch.save({number: vars(group) for number, group in groups.items()}, tmp_path / "groups.pt")
    recipe = replace(QUICK, steps=10, rounds=2)
    torch.save(vars(recipe), tmp_path / "recipe.pt")
    program = Path(__file__).with_name("two_workers.py")
    line = [sys.executable, str(program)]
    workers = [subprocess.Popen([*line, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    alone = fit(groups, SPEC, 0, recipe)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.equal(a, b) for a, b in zip(found["weights"], weights_of(alone), strict=True))
        assert found["losses"] == alone.losses
        assert found["agreements"] == alone.agreements


def test_as_many_workers_as_groups_have_something_to_do() -> None:
    assert TOKEN_WORKERS == GROUPS


def hidden(groups: Mapping[int, Group], share: float) -> dict[int, Group]:
    """Take the class from some of the segments."""
    rng = np.random.default_rng(1)
    return {
        number: replace(
            group, labels=group.labels.masked_fill(torch.from_numpy(rng.random(len(group.labels)) < share), -1)
        )
        for number, group in groups.items()
    }


def test_segments_without_a_class_are_not_learned_from_until_they_have_voted() -> None:
    groups, truths = planted(0.0)
    some = hidden(groups, 0.7)
    known = {
        number: Group(group.tokens[mask.repeat_interleave(group.sizes)], group.sizes[mask], group.labels[mask])
        for number, group in some.items()
        for mask in [group.labels >= 0]
    }
    one_round = replace(QUICK, rounds=1)
    fitted = fit(some, SPEC, 0, one_round)
    # But for mean and deviation, which are those of all tokens, only segments with a class count.
    alone = fit(known, SPEC, 0, one_round)
    assert accuracy(fitted, groups, truths) > 0.97
    assert abs(fitted.losses[0][-1] - alone.losses[0][-1]) < 0.02
    assert fitted.tokens == sum(len(group.tokens) for group in groups.values())
    named = sum(int(group.sizes[group.labels >= 0].sum()) for group in some.values())
    assert fitted.agreements[0] <= named / fitted.tokens
    with pytest.raises(DatusError, match="no segment of the images whose tokens are read has a class"):
        fit(hidden(groups, 2.0), SPEC, 0, one_round)
