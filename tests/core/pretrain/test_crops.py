from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from datus2_ray.core.pretrain.crops import BLUR, Views, draw_boxes, draw_views, render_views
from datus2_ray.core.pretrain.recipe import ViewSpec

PLAIN = ViewSpec(size=32, area=(0.2, 0.8), colour=0, blur=0)


def whole(count: int) -> torch.Tensor:
    return torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(count, 4)


def images(count: int, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand((count, 3, 8, 8), generator=generator)
    return (torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") * 255).to(torch.uint8)


def view_of(boxes: list[list[float]], **changes: torch.Tensor) -> Views:
    count = len(boxes)
    plain = {
        "boxes": torch.tensor(boxes),
        "mirrored": torch.zeros(count, dtype=torch.bool),
        "brightness": torch.ones(count),
        "contrast": torch.ones(count),
        "mixing": torch.eye(3).expand(count, 3, 3),
        "sigma": torch.zeros(count),
    }
    return Views(**{**plain, **changes})


@given(st.floats(0.01, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_boxes_lie_in_the_image_and_show_what_was_asked_for(least, width, seed):
    most = min(1.0, least + width)
    views = draw_views(ViewSpec(32, (least, most), 1, 0.5), whole(64), np.random.default_rng(seed))
    assert (views.boxes >= 0).all()
    assert (views.boxes <= 1 + 1e-6).all()
    sides = views.boxes[:, 2:] - views.boxes[:, :2]
    assert (sides > 0).all()
    assert (sides.prod(1) <= most + 1e-5).all()
    if most < 0.7:  # a wide box of a large share has to be cut
        assert (sides.prod(1) >= least - 1e-5).all()


def test_the_slice_of_a_batch_is_what_a_worker_of_its_own_makes():
    spec = ViewSpec(224, (0.1, 0.6), 1, 0.5)
    batch = torch.randint(256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = draw_views(spec, whole(8), np.random.default_rng(3))
    expected = render_views(batch / 255, views, spec.size)
    for part in (slice(0, 4), slice(4, 8)):
        torch.testing.assert_close(
            render_views(batch[part] / 255, views[part], spec.size), expected[part], atol=1e-6, rtol=0
        )


def test_a_crop_without_change_of_scale_is_the_image_itself():
    batch = images(3)
    views = view_of([[0.25, 0.5, 0.75, 1.0]] * 3)
    torch.testing.assert_close(render_views(batch / 255, views, 32), batch[:, :, 32:64, 16:48] / 255, atol=1e-5, rtol=0)


def test_a_whole_image_at_half_its_size_is_the_mean_of_four_pixels():
    batch = images(2)
    views = view_of([[0.0, 0.0, 1.0, 1.0]] * 2)
    expected = torch.nn.functional.avg_pool2d(batch / 255, 2)
    torch.testing.assert_close(render_views(batch / 255, views, 32), expected, atol=1e-5, rtol=0)


def test_light_changes_as_in_torchvision():
    batch = images(2)
    box = [[0.0, 0.0, 1.0, 1.0]] * 2
    pixels = batch / 255
    factors = torch.tensor([1.3, 0.7])
    brighter = render_views(batch / 255, view_of(box, brightness=factors), 64)
    contrasted = render_views(batch / 255, view_of(box, contrast=factors), 64)
    for number, factor in enumerate(factors.tolist()):
        torch.testing.assert_close(brighter[number], tv.adjust_brightness(pixels[number], factor), atol=1e-4, rtol=0)
        torch.testing.assert_close(contrasted[number], tv.adjust_contrast(pixels[number], factor), atol=2e-3, rtol=0)


def test_every_fifth_view_is_grey_and_grey_stays_grey():
    views = draw_views(ViewSpec(16, (1, 1), 1, 0), whole(2000), np.random.default_rng(0))
    colours = torch.tensor([0.2, 0.9, 0.4])
    mixed = views.mixing @ colours
    grey = (mixed.max(1).values - mixed.min(1).values) < 1e-3
    assert grey.float().mean() == pytest.approx(0.2, abs=0.03)
    torch.testing.assert_close(views.mixing @ torch.full((3,), 0.5), torch.full((2000, 3), 0.5), atol=2e-3, rtol=0)


def test_without_colour_and_blur_only_the_place_changes():
    views = draw_views(PLAIN, whole(50), np.random.default_rng(1))
    assert (views.brightness == 1).all()
    assert (views.contrast == 1).all()
    torch.testing.assert_close(views.mixing, torch.eye(3).expand(50, 3, 3), atol=1e-6, rtol=0)
    assert (views.sigma == 0).all()
    assert 10 < views.mirrored.sum() < 40


def test_a_mirrored_view_is_mirrored():
    batch = images(1)
    box = [[0.1, 0.2, 0.9, 0.7]]
    plain = render_views(batch / 255, view_of(box), 32)
    mirrored = render_views(batch / 255, view_of(box, mirrored=torch.tensor([True])), 32)
    torch.testing.assert_close(mirrored, plain.flip(-1))


@settings(max_examples=10)
@given(st.floats(0.1, BLUR * 64 / 224))
def test_blur_is_that_of_torchvision_and_leaves_the_sharp_alone(sigma):
    batch = images(2)
    views = view_of([[0.0, 0.0, 1.0, 1.0]] * 2, sigma=torch.tensor([sigma, 0.0]))
    rendered = render_views(batch / 255, views, 64)
    torch.testing.assert_close(rendered[1], batch[1] / 255, atol=1e-5, rtol=0)
    kernel = 2 * int(np.ceil(3 * sigma)) + 1
    expected = tv.gaussian_blur(batch[0] / 255, [kernel, kernel], [sigma, sigma])
    inner = slice(10, -10)  # the libraries differ in what lies beyond the border
    torch.testing.assert_close(rendered[0][:, inner, inner], expected[:, inner, inner], atol=2e-3, rtol=0)


@given(st.integers(0, 2**32))
def test_views_stay_in_the_region_of_their_image(seed):
    rng = np.random.default_rng(seed)
    regions = draw_boxes((0.1, 0.5), 32, rng)
    views = draw_views(PLAIN, regions, rng)
    assert (views.boxes[:, :2] >= regions[:, :2] - 1e-6).all()
    assert (views.boxes[:, 2:] <= regions[:, 2:] + 1e-6).all()
    share = (views.boxes[:, 2:] - views.boxes[:, :2]).prod(1) / (regions[:, 2:] - regions[:, :2]).prod(1)
    assert (share > 0.19).all()
