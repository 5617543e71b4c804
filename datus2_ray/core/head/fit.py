"""Learn a head from the tokens of images: pairs of an image with itself, with images like it and with any others.

The images lie in one process or in several. In every step the processes put together the tokens that it needs, each
computes the gradients of some of the step's shares, and these are added up in the order of the shares, so that neither
the number of processes nor that of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from datus2_ray.core.head.correspondence import centre, correspondence_loss, mean_similarity, similarities
from datus2_ray.core.head.network import Head, HeadSpec
from datus2_ray.core.head.pairs import Draws, nearest_images
from datus2_ray.core.head.recipes import Recipe

#: Shares of a step whose gradients are computed one by one; at most as many processes divide them.
SHARES = 8

SumOverWorkers = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Learned:
    """A learned head, and how it was learned.

    Parameters
    ----------
    losses : list of list of float
        Per step the three losses, not weighted: mean over its points.
    shifts : list of float
        The three shifts.
    images, tokens : int
        What it was learned from.
    """

    head: Head
    losses: list[list[float]]
    shifts: list[float]
    images: int
    tokens: int


def learn(
    images: Mapping[int, Tensor],
    count: int,
    spec: HeadSpec,
    seed: int,
    recipe: Recipe,
    sum_over_workers: SumOverWorkers = lambda values: values,
    shares: range = range(SHARES),
    threads: int = 1,
    device: torch.device | str = "cpu",
    on_step: Callable[[int], None] = lambda step: None,
) -> Learned:
    """Learn a head.

    Parameters
    ----------
    images : mapping of int to Tensor
        Tokens of those images that this process holds, float16 [n, dim], by their number; each is held by one.
    count : int
        Number of images, at least 2; they are numbered from 0.
    sum_over_workers : callable
        Adds up a tensor of all processes.
    shares : range
        Those of the shares of a step that this process computes; each is computed by one.
    threads : int
        Shares that are computed at once; torch itself shall use one thread.
    device : torch.device or str
        Where the images lie.
    on_step : callable
        Called with the steps done.
    """
    held = _Held(images, count, spec.dim, sum_over_workers, device)
    head = Head(spec, torch.Generator().manual_seed(seed)).to(device)
    means, sizes = held.standardise(head, whether=recipe.standardised)
    nearest = nearest_images(means, recipe.nearest).cpu().numpy()
    draws = Draws(nearest, sizes, recipe.images, recipe.points, seed)
    shifts = list(recipe.shifts or _find_shifts(head, held, draws, recipe))
    losses = []
    with ThreadPoolExecutor(threads) as pool:
        for step, found in enumerate(_steps(head, held, draws, shifts, recipe, shares, pool)):
            losses.append(found)
            on_step(step + 1)
    return Learned(head, torch.stack(losses).tolist(), shifts, count, int(sizes.sum()))


def _find_shifts(head: Head, held: _Held, draws: Draws, recipe: Recipe) -> list[float]:
    pilot = [_centred(head, held.points(*draws.next())) for _ in range(recipe.pilot)]
    return [
        float(torch.cat([values[pair] for values in pilot]).double().cpu().quantile(quantile))
        for pair, quantile in enumerate(recipe.quantiles)
    ]


class _Held:
    """The images that this process holds, and what is known of all."""

    def __init__(
        self,
        images: Mapping[int, Tensor],
        count: int,
        dim: int,
        sum_over_workers: SumOverWorkers,
        device: torch.device | str,
    ) -> None:
        self.device = device
        self._images = images
        self._count = count
        self._dim = dim
        self.sum_over_workers = sum_over_workers

    def standardise(self, head: Head, *, whether: bool) -> tuple[Tensor, np.ndarray]:
        """Set mean and deviation of the head, or leave 0 and 1; return every image's mean token so, and its tokens."""
        rows = torch.zeros(self._count, 2 * self._dim + 1, dtype=torch.float64, device=self.device)
        for number, tokens in self._images.items():
            values = tokens.double()
            rows[number] = torch.cat([values.sum(0), values.square().sum(0), values.new_tensor([len(values)])])
        # Every row is of one process, and 0 elsewhere: the sum has its bits.
        rows = self.sum_over_workers(rows)
        total = rows.sum(dim=0)
        if whether:
            mean, square = (total[:-1] / total[-1]).view(2, self._dim)
            deviation = (square - mean.square()).clamp(min=0).sqrt()
            # Constant but for the rounding of the sums.
            deviation[deviation <= 1e-6 * mean.abs()] = 1
            head.mean.copy_(mean)
            head.deviation.copy_(deviation)
        return head.standardise(rows[:, : self._dim] / rows[:, -1:]), rows[:, -1].long().cpu().numpy()

    def points(self, images: np.ndarray, points: np.ndarray) -> Tensor:
        """Return tokens of images, whoever holds them: [3, images, points, dim], float16."""
        tokens = torch.zeros(*points.shape, self._dim, dtype=torch.float16, device=self.device)
        for place in np.ndindex(images.shape):
            if (held := self._images.get(int(images[place]))) is not None:
                tokens[place] = held[torch.from_numpy(points[place]).to(self.device)]
        return self.sum_over_workers(tokens)


def _steps(
    head: Head, held: _Held, draws: Draws, shifts: list[float], recipe: Recipe, shares: range, pool: ThreadPoolExecutor
) -> Iterator[Tensor]:
    """Take the steps, and yield the losses of each."""
    parameters = list(head.parameters())
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate)
    lengths = [parameter.numel() for parameter in parameters]
    for _ in range(recipe.steps):
        tokens = held.points(*draws.next())
        rows = torch.zeros(SHARES, sum(lengths) + len(shifts), device=held.device)
        # In place of taking the mean from the similarities: it is that of the whole step, not of a share.
        moved = shifts if not recipe.keeps_mean else _below_mean(head, tokens, shifts)
        of_shares = [tokens[:, share::SHARES] for share in shares]
        found = pool.map(partial(gradient, head, shifts=moved, recipe=recipe), of_shares)
        for share, row in zip(shares, found, strict=True):
            rows[share] = row
        total = held.sum_over_workers(rows).sum(dim=0) / SHARES
        *gradients, losses = torch.split(total, [*lengths, len(shifts)])
        for parameter, values in zip(parameters, gradients, strict=True):
            parameter.grad = values.view_as(parameter)
        optimiser.step()
        yield losses.clone()


def gradient(head: Head, tokens: Tensor, shifts: list[float], recipe: Recipe) -> Tensor:
    """Return the gradients of all parameters, and the three losses, one after the other, in one vector.

    Parameters
    ----------
    tokens : Tensor
        Of points of images, of images like them and of others: [3, B, points, dim].
    """
    codes = head(head.standardise(tokens))
    pairs = zip(_centred(head, tokens), codes, shifts, strict=True)
    losses = [correspondence_loss(alike, similarities(codes[0], other), shift) for alike, other, shift in pairs]
    loss = sum((weight * value for weight, value in zip(recipe.weights, losses, strict=True)), codes.new_zeros(()))
    found = torch.autograd.grad(loss, list(head.parameters()))
    return torch.cat([*(values.flatten() for values in found), torch.stack(losses).detach()])


@torch.no_grad()
def _below_mean(head: Head, tokens: Tensor, shifts: list[float]) -> list[float]:
    """Return the shifts less the mean similarities of a step, for similarities that are centred."""
    standardised = head.standardise(tokens)
    return [shift - mean_similarity(standardised[0], other) for shift, other in zip(shifts, standardised, strict=True)]


@torch.no_grad()
def _centred(head: Head, tokens: Tensor) -> list[Tensor]:
    """Return the centred similarities of the tokens of images with themselves, those like them, and others."""
    standardised = head.standardise(tokens)
    return [centre(similarities(standardised[0], other)) for other in standardised]
