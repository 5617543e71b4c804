"""The linear layer on tokens: what it computes, that it learns, and that its backbone is never copied nor changed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from datus2_ray.core.backbone.vit import Backbone, Tap, load_backbone
from datus2_ray.core.refine.average import average_weights
from datus2_ray.core.refine.loss import pixel_loss
from datus2_ray.core.refine.token_layer import TokenSegmenter, TokenSegmenterSpec
from datus2_ray.errors import BackboneError

SPEC = TokenSegmenterSpec(dim=192, classes=3, size=64)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained:vit_tiny_patch16_224")


pytestmark = pytest.mark.usefixtures("one_thread")


def scenes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a bright field of some height over a dark one, and which is which; the last column is noise."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (count, 3, 64, 64), dtype=np.uint8)
    labels = np.zeros((count, 64, 64), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = 16 * int(rng.integers(1, 4))
        image[:, :row] += 180
        label[:row] = 1
    labels[:, :, -1] = 255
    return torch.from_numpy(images), torch.from_numpy(labels)


def test_it_starts_without_any_preference(backbone: Backbone) -> None:
    logits = TokenSegmenter(SPEC, backbone)(scenes(2)[0])
    assert logits.shape == (2, 3, 64, 64)
    assert not logits.any()


def test_logits_are_a_linear_function_of_standardised_tokens(backbone: Backbone) -> None:
    segmenter = TokenSegmenter(SPEC, backbone)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (*segmenter.layer.parameters(), segmenter.normalisation.running_mean):
            value.copy_(torch.randn(value.shape, generator=generator))
        segmenter.normalisation.running_var.uniform_(0.5, 2.0, generator=generator)
    images, _ = scenes(2)
    tokens = backbone.extract(images.permute(0, 2, 3, 1), [Tap("token")])[Tap("token")].double().numpy()
    mean, variance = (
        value.double().numpy() for value in (segmenter.normalisation.running_mean, segmenter.normalisation.running_var)
    )
    weight, bias = (value.detach().double().numpy() for value in (segmenter.layer.weight, segmenter.layer.bias))
    patches = (tokens - mean) / np.sqrt(variance + 1e-5) @ weight[:, :, 0, 0].T + bias
    grid = torch.from_numpy(patches.reshape(2, 4, 4, 3).transpose(0, 3, 1, 2))
    expected = functional.interpolate(grid, (64, 64), mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(segmenter.eval()(images).double(), expected, rtol=1e-4, atol=1e-4)


def test_it_learns_from_some_steps_and_the_backbone_stays(backbone: Backbone) -> None:
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    segmenter = TokenSegmenter(SPEC, backbone).train()
    images, labels = scenes(8)
    optimiser = torch.optim.AdamW(segmenter.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss, pixels = pixel_loss(segmenter(images), labels, exponent=0.7)
        optimiser.zero_grad()
        (loss / pixels).backward()
        optimiser.step()
        losses.append(float(loss.detach() / pixels))
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():
        found = segmenter.eval()(images).argmax(1)
    assert (found == labels)[labels != 255].float().mean() > 0.85
    assert all(torch.equal(value, before[name]) for name, value in backbone.model.state_dict().items())
    assert {name for name, _ in segmenter.named_parameters()} == {"layer.weight", "layer.bias"}


def test_the_backbone_is_no_part_of_it_and_is_shared_by_the_average(backbone: Backbone) -> None:
    segmenter = TokenSegmenter(SPEC, backbone)
    assert {name.split(".")[0] for name in segmenter.state_dict()} == {"normalisation", "layer"}
    average = average_weights(segmenter, momentum=0.9).module
    with torch.no_grad():
        segmenter.layer.bias[2] = 1.0
    images, _ = scenes(2)
    assert not average(images).argmax(1).any()  # it has no preference yet: the lowest class
    assert (segmenter(images).argmax(1) == 2).all()

    # Another copy of the backbone would not see that this one is changed.
    weight = backbone.model.patch_embed.proj.weight
    copied = copy.deepcopy(segmenter)
    with torch.no_grad():
        copied.layer.weight.normal_(generator=torch.Generator().manual_seed(0))
        before = copied.eval()(images)
        weight.mul_(2)
        try:
            assert not torch.equal(copied(images), before)
        finally:
            weight.div_(2)


def test_without_a_backbone_it_can_only_be_saved(backbone: Backbone) -> None:
    blank = TokenSegmenter(SPEC)
    assert [*blank.state_dict()] == [*TokenSegmenter(SPEC, backbone).state_dict()]
    with pytest.raises(TypeError, match="takes no images"):
        blank(scenes(2)[0])


def test_another_backbone_is_refused(backbone: Backbone) -> None:
    with pytest.raises(BackboneError, match=r"give refine\.size=64"):
        TokenSegmenter(TokenSegmenterSpec(dim=192, classes=3, size=70), backbone)
    with pytest.raises(BackboneError, match=r"tokens of length 64, those of .* have 192"):
        TokenSegmenter(TokenSegmenterSpec(dim=64, classes=3, size=64), backbone)
