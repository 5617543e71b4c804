from __future__ import annotations

from collections.abc import Iterator

import pytest

from datus2_ray.core.backbone.overlap import one_ahead


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_items_come_in_their_order(count: int) -> None:
    assert list(one_ahead(range(count))) == list(range(count))


def test_an_item_comes_once_the_next_is_made_and_no_further() -> None:
    made = []

    def batches() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            yield number

    seen = [(item, len(made)) for item in one_ahead(batches())]
    assert seen == [(0, 2), (1, 3), (2, 4), (3, 4)]
