"""A score, or the change of one, over seeds: its mean and its deviation."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Mean and sample standard deviation over seeds; of one seed the deviation is 0 and is not shown."""

    mean: float
    deviation: float
    seeds: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Return mean and deviation of a value per seed, at least one."""
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))

    @staticmethod
    def caption(spreads: Iterable[Spread]) -> str:
        """Return what the axis of a chart says after the name of a score."""
        return ", mean ± std" if any(spread.seeds > 1 for spread in spreads) else ""

    def __str__(self) -> str:
        """Return both with one digit."""
        return f"{self.mean:.1f}{self._tail}"

    def signed(self) -> str:
        """Return the mean with its sign, as a change has it."""
        mean = round(self.mean, 1) + 0.0  # no −0.0
        return f"{mean:+.1f}{self._tail}".replace("-", "−")

    @property
    def _tail(self) -> str:
        return f" ± {self.deviation:.1f}" if self.seeds > 1 else ""
