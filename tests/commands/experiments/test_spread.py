from __future__ import annotations

import statistics

from datus2_ray.commands.experiments.spread import Spread


def test_several_seeds_have_a_deviation() -> None:
    spread = Spread.of([20.0, 22.0, 27.0])
    assert spread == (23.0, statistics.stdev([20.0, 22.0, 27.0]), 3)
    assert str(spread) == "23.0 ± 3.6"
    assert spread.signed() == "+23.0 ± 3.6"
    assert Spread.caption([spread, Spread.of([1.0])]) == ", mean ± std"


def test_one_seed_has_none() -> None:
    spread = Spread.of([12.34])
    assert (str(spread), spread.signed()) == ("12.3", "+12.3")
    assert Spread.of([-0.04]).signed() == "+0.0"
    assert Spread.of([-1.26]).signed() == "−1.3"
    assert Spread.caption([spread]) == ""
