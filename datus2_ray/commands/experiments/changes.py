"""What scores gain from one set of masks to another, seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datus2_ray.commands.experiments.run import Result
from datus2_ray.commands.experiments.spread import Spread

#: A variant, and one of its sets of masks.
Place = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """Differences of mIoU and pixel accuracy in points, over seeds that both sides have."""

    miou: Spread
    accuracy: Spread

    def __str__(self) -> str:
        return f"{self.miou.signed()} mIoU and {self.accuracy.signed()} points of accuracy"

    @property
    def seeds(self) -> int:
        """Number of seeds that both sides have."""
        return self.miou.seeds

    @property
    def clear(self) -> bool:
        """Whether the mIoU changes by more than the deviation of that change; of one seed there is none."""
        return self.seeds > 1 and abs(self.miou.mean) > self.miou.deviation

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
    return Change(Spread.of(by_score["miou"]), Spread.of(by_score["pixel_accuracy"]))


def seeds(results: Sequence[Result], place: Place, score: str, matching: str = "one_to_one") -> dict[int, float]:
    """Return a score in percent by the seed."""
    variant, masks = place
    found = {result.seed: result.score(masks, matching, score) for result in results if result.variant.name == variant}
    return {seed: value for seed, value in found.items() if value is not None}


def reached(results: Sequence[Result], place: Place, matching: str = "one_to_one") -> str:
    """Return in words what masks reach."""
    miou, accuracy = (
        Spread.of([*seeds(results, place, score, matching).values()]) for score in ("miou", "pixel_accuracy")
    )
    return f"{miou} % mIoU and {accuracy} % pixel accuracy"


def final_masks(results: Sequence[Result]) -> str:
    """Return the last set of masks that every run has."""
    return "refined" if all("refined" in result.summary["metrics"] for result in results) else "initial"


def names(results: Sequence[Result]) -> list[str]:
    """Return the names of the variants, in their order."""
    return list(dict.fromkeys(result.variant.name for result in results))
