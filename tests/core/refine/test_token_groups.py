"""Tokens in groups: the vote of segments, and their sums."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.refine import token_groups
from datus2_ray.core.refine.token_groups import Group, segment_sums, vote
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec

DIM, CLASSES = 12, 4


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 50))
def test_every_segment_takes_the_class_with_the_largest_sum(sizes: list[int], block: int) -> None:
    generator = torch.Generator().manual_seed(len(sizes))
    layer = TokenLayer(TokenLayerSpec(DIM, CLASSES, {}))
    torch.nn.init.normal_(layer.weight, generator=generator)
    tokens = torch.randn((sum(sizes), DIM), generator=generator).half()
    group = Group(tokens, torch.tensor(sizes), torch.zeros(len(sizes), dtype=torch.int64))
    probabilities = layer(tokens).softmax(1).split(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_groups, "BLOCK", block)  # also where a segment is larger than a block
        found = vote(layer, group)
    assert found.tolist() == [int(of_segment.sum(0).argmax()) for of_segment in probabilities]


def test_sums_of_segments_are_sums() -> None:
    values = torch.arange(12.0).reshape(6, 2)
    assert segment_sums(values, torch.tensor([1, 3, 2])).tolist() == [[0, 1], [12, 15], [18, 20]]
