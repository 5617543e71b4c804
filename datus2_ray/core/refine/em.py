"""EM on segments: a layer on tokens learns the classes of segments, and every segment takes the class it is given.

A cluster groups descriptors, one per segment; the layer sees the tokens themselves, of all images. A segment whose
tokens look like those of another class changes to it, and the layer is fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datus2_ray.core.refine.loss import EXPONENT
from datus2_ray.core.refine.token_groups import GROUPS, Group, Groups, SumOverWorkers
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec
from datus2_ray.errors import DatusError

#: Multiplications of a group in a step from which on a thread of its own saves time: fewer are done before it starts.
WORTH_A_THREAD = 2**24


@dataclass(frozen=True)
class Recipe:
    """The constants of the fit; all of them decide its result.

    Parameters
    ----------
    rounds : int
        Max rounds.
    agreement : float
        The last round is the first one after which this share of the tokens has the class that it had before.
    steps : int
        Optimiser steps per round.
    batch : int
        Tokens per step, drawn from all images.
    learning_rate, weight_decay : float
        Of AdamW.
    exponent : float
        Of the generalised cross entropy, see :func:`~datus2_ray.core.refine.loss.pixel_loss`.
    """

    rounds: int = 3
    agreement: float = 0.98
    steps: int = 200
    batch: int = 4096
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    exponent: float = EXPONENT


@dataclass(frozen=True)
class Fitted:
    """A fitted layer, and how it was fitted.

    Parameters
    ----------
    losses : list of list of float
        Loss of every step, per round: mean over its tokens.
    agreements : list of float
        Share of the tokens whose segment kept its class, per round.
    tokens : int
        Number of tokens.
    """

    layer: TokenLayer
    losses: list[list[float]]
    agreements: list[float]
    tokens: int


def fit(
    groups: Mapping[int, Group],
    spec: TokenLayerSpec,
    seed: int,
    recipe: Recipe,
    sum_over_workers: SumOverWorkers = lambda values: values,
    threads: int = 1,
    on_step: Callable[[int], None] = lambda step: None,
) -> Fitted:
    """Fit a layer to the classes of segments, and let the segments vote, round after round.

    A segment without a class is learned from once it has voted.

    Parameters
    ----------
    groups : mapping of int to Group
        Those of the :data:`GROUPS` groups, by their number, that this process holds; each is held by one.
    sum_over_workers : callable
        Adds up a tensor of all processes.
    threads : int
        Groups that are summed at once, where that saves time; torch itself shall use one thread.
    on_step : callable
        Called with the steps done.

    Raises
    ------
    DatusError
        If no segment has a class.

    References
    ----------
    Hahn et al., "Boosting Unsupervised Semantic Segmentation with Principal Mask Proposals", arXiv 2404.16818 (2024),
    for pseudo-labels of segments and EM.
    """
    with ThreadPoolExecutor(threads) as pool:
        held = Groups(dict(sorted(groups.items())), spec.dim, sum_over_workers, pool)
        mean, deviation, counts = held.moments()
        device = mean.device
        labels = {number: group.labels for number, group in held.own.items()}
        fitted = Fitted(TokenLayer(spec), [], [], int(counts.sum()))
        for number in range(recipe.rounds):
            layer = TokenLayer(spec).to(device)
            layer.mean.copy_(mean)
            layer.deviation.copy_(deviation)
            losses = []
            rng = np.random.default_rng((seed, number))
            for step, loss in enumerate(_learn(layer, held, labels, recipe, rng)):
                losses.append(loss)
                on_step(number * recipe.steps + step + 1)
            before, labels = labels, held.vote(layer)
            agreement = held.agreement(before, labels)
            fitted = Fitted(
                layer, [*fitted.losses, torch.stack(losses).tolist()], [*fitted.agreements, agreement], fitted.tokens
            )
            if agreement >= recipe.agreement:
                break
    return fitted


def _learn(
    layer: TokenLayer,
    held: Groups,
    labels: Mapping[int, Tensor],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Iterator[Tensor]:
    """Take the steps of a round, and yield the loss of each."""
    optimiser = torch.optim.AdamW(layer.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    targets = {number: labels[number].repeat_interleave(group.sizes) for number, group in held.own.items()}
    known = {number: (of_group >= 0).nonzero()[:, 0] for number, of_group in targets.items()}
    group_sizes = held.count(known).cpu().numpy()
    ends = np.cumsum(group_sizes)
    if not ends[-1]:
        raise DatusError("no segment of the images whose tokens are read has a class; name some of theirs")
    weights = layer.weight.numel()
    length, threaded = weights + layer.bias.numel() + 1, weights * recipe.batch >= GROUPS * WORTH_A_THREAD
    for _ in range(recipe.steps):
        drawn = rng.integers(ends[-1], size=recipe.batch)
        of_group = np.searchsorted(ends, drawn, side="right")

        def gradient(number: int, drawn: np.ndarray = drawn, of_group: np.ndarray = of_group) -> Tensor:
            first = ends[number] - group_sizes[number]
            chosen = known[number][torch.from_numpy(drawn[of_group == number] - first).to(layer.mean.device)]
            tokens = layer.standardise(held.own[number].tokens.index_select(0, chosen))
            return sum_gradients(layer, tokens, targets[number][chosen], recipe.exponent)

        total = held.collect(gradient, length, threaded=threaded).sum(dim=0) / recipe.batch
        layer.weight.grad = total[:weights].view_as(layer.weight)
        layer.bias.grad = total[weights:-1]
        optimiser.step()
        yield total[-1].clone()


@torch.no_grad()
def sum_gradients(layer: TokenLayer, tokens: Tensor, labels: Tensor, exponent: float) -> Tensor:
    """Return the summed gradients of weight and bias, and the summed loss, one after the other, in one vector.

    The loss of a token is (1 - pᵠ) / q, with q = `exponent` and p the probability of its label: its gradient with
    regard to the logits is pᵠ times that of the cross entropy, which is the loss at q = 0.

    Parameters
    ----------
    tokens : Tensor
        Standardised, float32, shape [n, dim].
    labels : Tensor
        int64, shape [n].
    """
    logits = torch.addmm(layer.bias, tokens, layer.weight.T)
    log_p = logits.log_softmax(dim=1)
    of_label = log_p.gather(1, labels[:, None])
    certainty = (exponent * of_label).exp()
    errors = log_p.exp().mul_(certainty)
    errors.scatter_add_(1, labels[:, None], -certainty)
    loss = ((1 - certainty) / exponent if exponent else -of_label).sum()
    return torch.cat([(errors.T @ tokens).flatten(), errors.sum(dim=0), loss[None]])
