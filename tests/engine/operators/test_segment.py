from __future__ import annotations

from datus2_ray.engine.operators.segment import image_seed


def test_the_seed_of_an_image_comes_from_its_id() -> None:
    assert image_seed(0, "a") == image_seed(0, "a")
    assert len({image_seed(seed, image_id) for seed in range(3) for image_id in ("a", "b", "a/b")}) == 9
