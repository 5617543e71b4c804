from __future__ import annotations

import pytest
import torch

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.refine.deeplab import (
    DeepLabV3Segmenter,
    SegmenterSpec,
    build_segmenter,
)
from datus2_ray.core.refine.loss import pixel_loss
from datus2_ray.errors import BackboneError

SPEC = SegmenterSpec(encoder="resnet18", output_stride=16, classes=3, size=64)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def built() -> DeepLabV3Segmenter:
    return build_segmenter(SPEC, seed=1).eval()


def images(count: int, size: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_alone(built):
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = build_segmenter(SPEC, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in built.state_dict().items())
    other = build_segmenter(SPEC, seed=2).network.encoder.conv1.weight
    assert not torch.equal(other, built.network.encoder.conv1.weight)


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("asked the hub for weights")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", refuse)
    build_segmenter(SPEC, seed=0)


@pytest.mark.parametrize("stride", [8, 16])
def test_output_stride_is_the_size_of_a_cell(stride):
    built = build_segmenter(SegmenterSpec("resnet18", stride, 3, 64), seed=0).eval()
    with torch.no_grad():
        cells = built.network.encoder(images(1).float())[-1]
        assert built(images(1)).shape == (1, 3, 64, 64)
    assert cells.shape[-1] == 64 // stride


def test_8_bit_images_are_normalised_as_torchvision_does(built):
    from torchvision.transforms import v2

    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    with torch.no_grad():
        torch.testing.assert_close(built(images(2)), built.network(normalise(images(2))))


def test_an_unknown_encoder_is_named_with_its_remedy():
    with pytest.raises(BackboneError, match=r"'resnet19'.*refine\.encoder takes resnet18"):
        build_segmenter(SegmenterSpec("resnet19", 16, 3, 64), seed=0)


def test_a_batch_of_noise_alone_gives_no_loss_and_no_gradient(built):
    loss, pixels = pixel_loss(built(images(2)), torch.full((2, 64, 64), 255, dtype=torch.uint8))
    (loss / pixels.clamp(min=1)).backward()
    gradients = [parameter.grad for parameter in built.parameters()]
    built.zero_grad()
    assert loss == 0
    assert pixels == 0
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_training_lowers_the_loss_of_a_problem_that_colour_solves():
    built = build_segmenter(SPEC, seed=0).train()
    pictures = images(4)
    labels = torch.zeros((4, 64, 64), dtype=torch.uint8)
    labels[:, 32:] = 1
    labels[:, :, 48:] = 255
    pictures[:, 0] = torch.where(labels == 1, 220, 30).to(torch.uint8)
    optimiser = torch.optim.AdamW(built.parameters(), lr=1e-3)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(8):
            loss, pixels = pixel_loss(built(pictures), labels)
            loss = loss / pixels
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
