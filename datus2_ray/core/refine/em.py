"""EM on segments: a layer on tokens learns the classes of segments, and every segment takes the class it is given.

A cluster groups descriptors, one per segment; the layer sees the tokens themselves, of all images. A segment whose
tokens look like those of another class changes to it, and the layer is fitted again.

The tokens lie in a fixed number of groups, in one process or in several. Sums are made group by group and added up in
the order of the groups, so that neither the number of processes nor that of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datus2_ray.core.refine.loss import EXPONENT
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec
from datus2_ray.errors import DatusError

#: Groups in which tokens are summed; at most as many processes share them.
GROUPS = 8

#: Tokens whose probabilities are held at a time.
BLOCK = 2**15

#: Multiplications of a group in a step from which on a thread of its own saves time: fewer are done before it starts.
WORTH_A_THREAD = 2**24

SumOverWorkers = Callable[[Tensor], Tensor]


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
class Group:
    """Tokens of some images, those of a segment one after the other; noise is left out.

    Parameters
    ----------
    tokens : Tensor
        float16, shape [n, dim].
    sizes : Tensor
        Tokens of every segment, int64, shape [S].
    labels : Tensor
        Class of every segment, int64, shape [S]; -1 where it has none yet.
    """

    tokens: Tensor
    sizes: Tensor
    labels: Tensor


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
        held = _Held(dict(sorted(groups.items())), spec.dim, sum_over_workers, pool)
        mean, deviation, counts = held.moments()
        device = mean.device
        labels = {number: group.labels for number, group in held.groups.items()}
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
    held: _Held,
    labels: Mapping[int, Tensor],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Iterator[Tensor]:
    """Take the steps of a round, and yield the loss of each."""
    optimiser = torch.optim.AdamW(layer.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    targets = {number: labels[number].repeat_interleave(group.sizes) for number, group in held.groups.items()}
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
            tokens = layer.standardise(held.groups[number].tokens.index_select(0, chosen))
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


class _Held:
    """The groups that this process holds, and sums over all groups."""

    def __init__(
        self, groups: Mapping[int, Group], dim: int, sum_over_workers: SumOverWorkers, pool: ThreadPoolExecutor
    ) -> None:
        self.groups = groups
        self._dim = dim
        self._sum_over_workers = sum_over_workers
        self._pool = pool

    def collect(
        self,
        of_group: Callable[[int], Tensor],
        length: int,
        dtype: torch.dtype = torch.float32,
        *,
        threaded: bool = True,
    ) -> Tensor:
        """Return a vector of every group, also of those that others hold: [GROUPS, length]."""
        device = next(iter(self.groups.values())).tokens.device
        rows = torch.zeros(GROUPS, length, dtype=dtype, device=device)
        found = self._pool.map(of_group, self.groups) if threaded else map(of_group, self.groups)
        for number, row in zip(self.groups, found, strict=True):
            rows[number] = row
        # Every row is of one process, and 0 elsewhere: the sum has its bits.
        return self._sum_over_workers(rows)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and deviation of every coordinate, 1 where it is constant, and the tokens of every group."""

        def of_group(number: int) -> Tensor:
            tokens = self.groups[number].tokens
            sums = torch.zeros(2, self._dim, dtype=torch.float64, device=tokens.device)
            for start in range(0, len(tokens), BLOCK):
                values = tokens[start : start + BLOCK].double()
                sums += torch.stack([values.sum(dim=0), values.square().sum(dim=0)])
            return torch.cat([sums.flatten(), sums.new_tensor([len(tokens)])])

        rows = self.collect(of_group, 2 * self._dim + 1, torch.float64)
        counts, total = rows[:, -1].long(), rows.sum(dim=0)
        mean, square = (total[:-1] / total[-1]).view(2, self._dim)
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        # Constant but for the rounding of the sums.
        deviation[deviation <= 1e-6 * mean.abs()] = 1
        return mean.float(), deviation.float(), counts

    def count(self, tokens: Mapping[int, Tensor]) -> Tensor:
        """Return how many tokens of each of all groups are among some of the held ones, int64 [GROUPS]."""
        device = next(iter(self.groups.values())).tokens.device
        return self.collect(lambda n: torch.tensor([len(tokens[n])], device=device), 1, torch.int64, threaded=False)[
            :, 0
        ]

    def vote(self, layer: TokenLayer) -> dict[int, Tensor]:
        """Return the class of every segment of every held group."""
        labels = self._pool.map(lambda group: vote(layer, group), self.groups.values())
        return dict(zip(self.groups, labels, strict=True))

    def agreement(self, before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> float:
        """Return the share of all tokens whose segment has the class that it had before."""

        def of_group(number: int) -> Tensor:
            sizes = self.groups[number].sizes
            stay = sizes[before[number] == after[number]]
            return torch.stack([stay.sum(), sizes.sum()]).double()

        stay, all_of_them = self.collect(of_group, 2, torch.float64).sum(dim=0).tolist()
        return float(stay / all_of_them)


@torch.no_grad()
def vote(layer: TokenLayer, group: Group) -> Tensor:
    """Return the class of every segment, int64 [S]: the one with the largest sum of its tokens' probabilities."""
    labels = [
        segment_sums(layer(tokens).softmax(dim=1), sizes).argmax(dim=1) for tokens, sizes in _blocks_of_segments(group)
    ]
    return torch.cat([group.labels[:0], *labels])


def segment_sums(values: Tensor, sizes: Tensor) -> Tensor:
    """Add up the rows of every segment: [n, K] to [S, K]; `sizes` are the rows of each, one segment after the other."""
    return torch.segment_reduce(values, "sum", lengths=sizes, axis=0)


def _blocks_of_segments(group: Group) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the tokens and sizes of some whole segments at a time."""
    ends = group.sizes.cumsum(dim=0)
    first = 0
    while first < len(ends):
        begin = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(torch.searchsorted(ends, begin + BLOCK, right=True)))
        yield group.tokens[begin : int(ends[last - 1])], group.sizes[first:last]
        first = last
