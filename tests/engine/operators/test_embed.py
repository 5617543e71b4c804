"""How the images of a part are cut into forward passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.engine.operators.embed import alike


@given(sides=st.lists(st.integers(1, 3), max_size=20), most=st.integers(1, 6))
def test_a_batch_has_images_of_one_kind_and_every_image_is_in_one(sides: list[int], most: int) -> None:
    batches = list(alike(sides, most))
    assert sorted(number for batch in batches for number in batch) == list(range(len(sides)))
    assert all(len({sides[number] for number in batch}) == 1 and 1 <= len(batch) <= most for batch in batches)
    for side in set(sides):  # in their order, and as few batches as can be
        of_side = [batch for batch in batches if sides[batch[0]] == side]
        assert [number for batch in of_side for number in batch] == [n for n, own in enumerate(sides) if own == side]
        assert all(len(batch) == most for batch in of_side[:-1])
