from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.pretrain.alignment import HIDDEN_OF_SHOWN, SHOWN, align_patches, draw_masks, draw_shown
from datus2_ray.core.pretrain.crops import Views, draw_views, render_views
from datus2_ray.core.pretrain.recipe import ViewSpec

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ViewSpec(size=64, area=(0.2, 0.9), colour=0, blur=0)


def whole(count: int) -> torch.Tensor:
    return torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(count, 4)


def place_maps(views: Views, grid: int) -> torch.Tensor:
    """Give, as vectors [B, grid², 2], where in the image the patches of the views lie: made from rendered pixels."""
    steps = (torch.arange(256) + 0.5) / 256
    picture = torch.stack([*torch.meshgrid(steps, steps, indexing="xy"), torch.zeros(256, 256)])
    rendered = render_views(picture.expand(len(views.boxes), -1, -1, -1), views, 64)
    patches = torch.nn.functional.avg_pool2d(rendered[:, :2], 64 // grid)
    return patches.flatten(2).transpose(1, 2)


@given(st.integers(0, 2**32), st.sampled_from([4, 8, 16]))
def test_aligned_patches_show_the_same_place(seed, grid):
    rng = np.random.default_rng(seed)
    of, to = draw_views(SPEC, whole(6), rng), draw_views(SPEC, whole(6), rng)
    read, seen = align_patches(place_maps(of, 8), of, to, grid)
    expected = place_maps(to, grid)
    # Beyond the centres of the outermost patches there is nothing to interpolate between.
    half = (of.boxes[:, None, 2:] - of.boxes[:, None, :2]) / 16
    inner = (expected > of.boxes[:, None, :2] + half) & (expected < of.boxes[:, None, 2:] - half)
    inner = inner.all(-1)
    assert seen.flatten(1)[inner].all()
    torch.testing.assert_close(read[inner], expected[inner], atol=0.01, rtol=0)


@given(st.integers(0, 2**32))
def test_what_lies_outside_is_not_seen(seed):
    rng = np.random.default_rng(seed)
    of, to = draw_views(SPEC, whole(6), rng), draw_views(SPEC, whole(6), rng)
    _, seen = align_patches(torch.zeros(6, 64, 3), of, to, 8)
    places = place_maps(to, 8)
    outside = ((places < of.boxes[:, None, :2] - 0.01) | (places > of.boxes[:, None, 2:] + 0.01)).any(-1)
    assert not seen.flatten(1)[outside].any()


def test_a_view_aligned_to_itself_is_itself():
    views = draw_views(SPEC, whole(4), np.random.default_rng(0))
    tokens = torch.randn(4, 64, 5)
    read, seen = align_patches(tokens, views, views, 8)
    torch.testing.assert_close(read, tokens, atol=1e-4, rtol=1e-4)
    assert seen.all()


@given(st.integers(2, 40), st.integers(3, 28), st.integers(0, 2**32))
def test_masks_hide_one_rectangle_of_every_second_view(batch, grid, seed):
    masks = draw_masks(batch, grid, np.random.default_rng(seed)).numpy()
    hidden = masks.any((1, 2))
    assert hidden.sum() == batch - batch // 2
    for mask in masks[hidden]:
        rows, columns = mask.any(1), mask.any(0)
        assert mask.sum() == rows.sum() * columns.sum()
        assert not mask.all()


@given(st.integers(1, 12), st.integers(3, 29), st.integers(0, 2**32))
def test_shown_patches_are_as_many_in_every_image_and_a_share_of_them_is_hidden(batch, grid, seed):
    shown, hidden = draw_shown(batch, grid, np.random.default_rng(seed))
    assert shown.shape == hidden.shape == (batch, round(SHOWN * grid**2))
    for places in shown.tolist():
        assert len(set(places)) == len(places)
        assert 0 <= min(places) <= max(places) < grid**2
    assert set(hidden.sum(1).tolist()) == {round(HIDDEN_OF_SHOWN * shown.shape[1])}


def test_shown_patches_come_in_squares_of_four():
    shown, hidden = draw_shown(6, 20, np.random.default_rng(0))
    for places, out_of_sight in zip(shown, hidden, strict=True):
        squares = places // 20 // 2 * 10 + places % 20 // 2
        for group in (squares, squares[out_of_sight]):
            assert set(torch.unique(group, return_counts=True)[1].tolist()) == {4}
