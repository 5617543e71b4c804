from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch

from datus2_ray.core.pretrain.alignment import draw_shown
from datus2_ray.core.pretrain.encoder import Encoder, Whole
from datus2_ray.core.pretrain.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(
    patch_size=8, dim=64, depth=2, image_size=64, global_size=48, local_size=24, region_area=(0.5, 1.0),
    global_area=(0.3, 1.0), local_area=(0.1, 0.4), local_views=0, colour=0, patch_objective="texture", prototypes=8,
    hidden_dim=8, bottleneck_dim=8, batch_size=2, steps=1, warmup_steps=0, learning_rate=1e-3, weight_decay=0,
    temperature=0.04, momentum=0.9,
)  # fmt: skip
MODELS = [{}, {"reg_tokens": 4}, {"reg_tokens": 4, "no_embed_class": True}]


def encoder(**arguments: Any) -> Encoder:
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, patch_size=8, embed_dim=64, depth=2, num_heads=1,
        img_size=64, **arguments,
    )  # fmt: skip
    made = Encoder(vit, RECIPE).eval()
    torch.nn.init.normal_(made.vit.mask_token)
    return made


def shown_tokens(network: Encoder, pixels: torch.Tensor, shown: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network([pixels], None, [], Whole(pixels, shown, hidden))[2]


@pytest.mark.parametrize("arguments", MODELS)
@pytest.mark.parametrize("side", [40, 64, 72])
def test_all_patches_shown_and_none_hidden_are_the_whole_image(arguments, side):
    network, pixels = encoder(**arguments), torch.randn(3, 3, side, side)
    places = torch.stack([torch.randperm((side // 8) ** 2) for _ in range(3)])
    found = shown_tokens(network, pixels, places, torch.zeros(places.shape, dtype=torch.bool))
    with torch.no_grad():
        every = network.encode(pixels)[:, network.prefix :]
    expected = torch.gather(every, 1, places[..., None].expand(-1, -1, every.shape[-1]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arguments", MODELS)
def test_the_student_sees_the_shown_patches_alone_and_of_the_hidden_ones_their_place(arguments):
    network, pixels = encoder(**arguments), torch.randn(2, 3, 64, 64)
    shown, hidden = draw_shown(2, 8, np.random.default_rng(0))
    before = shown_tokens(network, pixels, shown, hidden)

    def after_change_of(place: int) -> torch.Tensor:
        changed = pixels.clone()
        row, column = divmod(place, 8)
        changed[0, :, row * 8 : (row + 1) * 8, column * 8 : (column + 1) * 8] += 1
        return shown_tokens(network, changed, shown, hidden)

    out_of_sight = int(shown[0][hidden[0]][0])
    left_away = next(place for place in range(64) if place not in shown[0])
    assert torch.equal(after_change_of(out_of_sight), before)
    assert torch.equal(after_change_of(left_away), before)
    seen = after_change_of(int(shown[0][~hidden[0]][0]))
    assert not torch.equal(seen[0], before[0])
    assert torch.equal(seen[1], before[1])
    # Two hidden patches differ, by their place.
    first, second = before[0][hidden[0]][:2]
    assert not torch.allclose(first, second, atol=1e-3)
