"""Tokens in groups, which one process or several hold: sums over all of them, and the votes of segments.

There is a fixed number of groups. Sums are made group by group and added up in the order of the groups, so that neither
the number of processes nor that of threads changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from datus2_ray.core.refine.token_layer import TokenLayer

#: Groups in which tokens are summed; at most as many processes share them.
GROUPS = 8

#: Tokens whose probabilities are held at a time.
BLOCK = 2**15

SumOverWorkers = Callable[[Tensor], Tensor]


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


class Groups:
    """The groups that this process holds, and sums over all groups.

    Attributes
    ----------
    own : mapping of int to Group
        Those that this process holds, by their number, ascending.
    """

    def __init__(
        self, own: Mapping[int, Group], dim: int, sum_over_workers: SumOverWorkers, pool: ThreadPoolExecutor
    ) -> None:
        self.own = own
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
        device = next(iter(self.own.values())).tokens.device
        rows = torch.zeros(GROUPS, length, dtype=dtype, device=device)
        found = self._pool.map(of_group, self.own) if threaded else map(of_group, self.own)
        for number, row in zip(self.own, found, strict=True):
            rows[number] = row
        # Every row is of one process, and 0 elsewhere: the sum has its bits.
        return self._sum_over_workers(rows)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean and deviation of every coordinate, 1 where it is constant, and the tokens of every group."""

        def of_group(number: int) -> Tensor:
            tokens = self.own[number].tokens
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
        device = next(iter(self.own.values())).tokens.device
        return self.collect(lambda n: torch.tensor([len(tokens[n])], device=device), 1, torch.int64, threaded=False)[
            :, 0
        ]

    def vote(self, layer: TokenLayer) -> dict[int, Tensor]:
        """Return the class of every segment of every held group."""
        labels = self._pool.map(lambda group: vote(layer, group), self.own.values())
        return dict(zip(self.own, labels, strict=True))

    def agreement(self, before: Mapping[int, Tensor], after: Mapping[int, Tensor]) -> float:
        """Return the share of all tokens whose segment has the class that it had before."""

        def of_group(number: int) -> Tensor:
            sizes = self.own[number].sizes
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
