"""What scores gain from one set of masks to another, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from datus2_ray.commands.experiments.run import Result

#: A variant, and one of its sets of masks.
Place = tuple[str, str]

#: Mean and sample standard deviation over seeds.
Pair = tuple[float, float]


@dataclass(frozen=True)
class Change:
    """Differences of mIoU and pixel accuracy in points, over seeds that both sides have."""

    miou: Pair
    accuracy: Pair
    seeds: int

    def __str__(self) -> str:
        return f"{signed(self.miou)} mIoU and {signed(self.accuracy)} points of accuracy"

    @property
    def clear(self) -> bool:
        """Whether the mIoU changes by more than the deviation of that change; of one seed there is none."""
        return self.seeds > 1 and abs(self.miou[0]) > self.miou[1]

    @property
    def verdict(self) -> str:
        """How the change of mIoU compares with its deviation."""
        if self.seeds == 1:
            return "of one seed"
        return f"{'more' if self.clear else 'no more'} than its deviation over {self.seeds} seeds"


def change(results: Sequence[Result], before: Place, after: Place, matching: str = "one_to_one") -> Change | None:
    """Return what changes from some masks to others; None where no seed has both."""
    by_score = {}
    for score in ("miou", "pixel_accuracy"):
        old, new = (seeds(results, place, score, matching) for place in (before, after))
        by_score[score] = [new[seed] - old[seed] for seed in sorted(old.keys() & new.keys())]
    if not by_score["miou"]:
        return None
    return Change(pair(by_score["miou"]), pair(by_score["pixel_accuracy"]), len(by_score["miou"]))


def seeds(results: Sequence[Result], place: Place, score: str, matching: str = "one_to_one") -> dict[int, float]:
    """Return a score in percent by the seed."""
    variant, masks = place
    found = {result.seed: result.score(masks, matching, score) for result in results if result.variant.name == variant}
    return {seed: value for seed, value in found.items() if value is not None}


def pair(values: Sequence[float]) -> Pair:
    """Return mean and sample standard deviation; 0 for one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def reached(results: Sequence[Result], place: Place, matching: str = "one_to_one") -> str:
    """Return in words what masks reach."""
    miou, accuracy = (pair([*seeds(results, place, score, matching).values()]) for score in ("miou", "pixel_accuracy"))
    return f"{unsigned(miou)} % mIoU and {unsigned(accuracy)} % pixel accuracy"


def unsigned(values: Pair) -> str:
    """Return mean and deviation with one digit."""
    return f"{values[0]:.1f} ± {values[1]:.1f}"


def signed(values: Pair) -> str:
    """Return a change with its sign, and its deviation."""
    mean = round(values[0], 1) + 0.0  # no −0.0
    return f"{mean:+.1f} ± {values[1]:.1f}".replace("-", "−")


def final_masks(results: Sequence[Result]) -> str:
    """Return the last set of masks that every run has."""
    return "refined" if all("refined" in result.summary["metrics"] for result in results) else "initial"


def names(results: Sequence[Result]) -> list[str]:
    """Return the names of the variants, in their order."""
    return list(dict.fromkeys(result.variant.name for result in results))
