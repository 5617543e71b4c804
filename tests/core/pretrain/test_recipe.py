from __future__ import annotations

import pytest

from datus2_ray.config.pretrain import PretrainConfig
from datus2_ray.stages.pretrain.pretrain import recipe_of

RECIPE = recipe_of(
    PretrainConfig(steps=100, warmup_steps=10, learning_rate=0.5, momentum=0.9), seed=0, from_scratch=True
)


def test_the_learning_rate_rises_and_falls():
    rates = [RECIPE.learning_rate_at(step) for step in range(100)]
    assert max(rates) == pytest.approx(0.5)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.005)


def test_the_teacher_slows_down_to_a_stop():
    assert RECIPE.momentum_at(0) == pytest.approx(0.9)
    assert RECIPE.momentum_at(99) == pytest.approx(1)


def test_an_image_is_seen_in_two_large_and_some_small_views():
    sizes = [spec.size for spec in RECIPE.view_specs()]
    assert sizes == [160, 160, *[64] * 6]


def test_texture_is_taught_from_scratch_alone_unless_asked_for():
    def taught(config: PretrainConfig) -> list[str]:
        return [recipe_of(config, seed=0, from_scratch=scratch).patch_objective for scratch in (True, False)]

    assert taught(PretrainConfig()) == ["texture", "correspondence"]
    assert taught(PretrainConfig(patch_objective="masked")) == ["masked", "masked"]
