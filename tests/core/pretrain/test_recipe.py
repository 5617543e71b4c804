from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from datus2_ray.core.pretrain.recipe import Recipe


def test_an_image_is_seen_in_two_large_and_some_small_views():
    sizes = [spec.size for spec in Recipe().view_specs()]
    assert sizes == [160, 160, *[64] * 6]


def test_texture_is_taught_from_scratch_alone_unless_asked_for():
    def objectives(recipe: Recipe) -> list[str]:
        return [recipe.resolve_objective(from_scratch=scratch).patch_objective for scratch in (True, False)]

    assert objectives(Recipe()) == ["texture", "correspondence"]
    assert objectives(Recipe(patch_objective="masked")) == ["masked", "masked"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"global_size": 50}, "multiple of the patch size"),
        ({"local_area": (0.5, 0.1)}, "two rising shares"),
        ({"steps": 10, "warmup_steps": 50}, "must not exceed steps"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, reason):
    with pytest.raises(ValidationError, match=reason):
        Recipe(**settings)


def test_settings_are_read_without_the_libraries_that_train():
    code = "import sys, datus2_ray.core.pretrain.recipe; assert not {'torch', 'lightly'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
