from __future__ import annotations

import math
import re

import pytest
import torch

from datus2_ray.core.pretrain.health import (
    PATIENCE,
    CollapseWatch,
    effective_rank,
    feature_deviation,
    prototype_information,
)  # fmt: skip


def test_deviation_is_one_for_directions_that_are_all_over_and_zero_for_one():
    vectors = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert float(feature_deviation(vectors)) == pytest.approx(1, abs=0.02)
    assert float(feature_deviation(vectors[:1].expand(50, -1) * torch.rand(50, 1))) == pytest.approx(0, abs=1e-4)


def test_information_is_what_a_prototype_tells():
    sharp = torch.eye(8)
    assert float(prototype_information(sharp)) == pytest.approx(math.log(8), abs=1e-5)
    assert float(prototype_information(sharp[:1].expand(8, -1))) == pytest.approx(0, abs=1e-6)  # one takes all
    assert float(prototype_information(torch.full((8, 8), 1 / 8))) == pytest.approx(0, abs=1e-6)  # all take all


def test_effective_rank_counts_directions():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(500, 3, generator=generator) @ torch.randn(3, 32, generator=generator)
    assert 1 < effective_rank(flat) <= 3.001
    assert effective_rank(torch.eye(16)) == pytest.approx(16, rel=1e-6)


def test_a_collapse_has_to_last():
    watch = CollapseWatch()
    lows = [(0.001, 1.0)] * (PATIENCE - 1)
    assert not any(watch.check(step, 1.0, *low) for step, low in enumerate(lows))
    assert watch.check(PATIENCE, 1.0, 0.5, 1.0) is None  # a step that is well: counted anew
    assert not any(watch.check(step, 1.0, 0.5, 0.001) for step in range(PATIENCE - 1))
    assert re.match(
        r"pretrain: collapsed at step 7: .* lower pretrain\.learning_rate", watch.check(7, 1.0, 0.5, 0.001) or ""
    )


def test_a_loss_that_is_no_number_is_told_at_once():
    assert "not a number at step 3" in (CollapseWatch().check(3, math.nan, 1.0, 1.0) or "")
