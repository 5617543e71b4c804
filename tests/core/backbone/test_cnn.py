"""Crop vectors of local ResNets are bitwise the globally pooled features of the model that the file was made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.backbone.cnn import load_cnn
from datus2_ray.errors import BackboneError

pytestmark = pytest.mark.usefixtures("one_thread")


def random_resnet(name: str) -> Any:
    """Build a ResNet of torchvision of which no tensor, batch statistics included, has the value it starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None).eval()
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(0.02 * torch.rand(value.shape) if "var" in name else 0.02 * torch.randn(value.shape))
    return model


def crops(batch: int, side: int = 64) -> Tensor:
    return torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def moco_v2(state: dict[str, Tensor]) -> Any:
    named = {f"module.encoder_q.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    heads = {f"module.encoder_q.fc.{layer}.{kind}": torch.ones(4) for layer in (0, 2) for kind in ("weight", "bias")}
    twin = {key.replace("encoder_q", "encoder_k"): value + 1 for key, value in named.items()}
    queue = {"module.queue": torch.ones(4, 4), "module.queue_ptr": torch.zeros(1)}
    return {"epoch": 800, "arch": "resnet50", "state_dict": named | heads | twin | queue, "optimizer": {"state": {}}}


FORMATS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "torchvision": lambda s: s,
    "dino": lambda s: {key: value for key, value in s.items() if not key.startswith("fc.")},
    "moco-v2": moco_v2,
    "before counts": lambda s: {key: value for key, value in s.items() if "num_batches_tracked" not in key},
}


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("torchvision", "resnet18"),
        ("torchvision", "resnet34"),
        ("dino", "resnet18"),
        ("moco-v2", "resnet50"),
        ("before counts", "resnet18"),
    ],
)
def test_every_layout_gives_the_pooled_features(layout: str, name: str, tmp_path: Path) -> None:
    source = random_resnet(name)
    torch.save(FORMATS[layout](source.state_dict()), tmp_path / "resnet.pth.tar")
    cnn = load_cnn(str(tmp_path / "resnet.pth.tar"))
    assert (cnn.name, cnn.dim, cnn.input_size, cnn.trained) == ("resnet.pth.tar", source.fc.in_features, 224, True)
    assert (cnn.mean, cnn.std) == (IMAGENET_MEAN, IMAGENET_STD)
    pixels = crops(2)
    with torch.inference_mode():
        planes = pixels.permute(0, 3, 1, 2).contiguous()
        scaled = torchvision.transforms.functional.normalize(planes / 255, cnn.mean, cnn.std)
        trunk = torch.nn.Sequential(*list(source.children())[:-1])
        assert torch.equal(cnn.embed(pixels), trunk(scaled).flatten(1))


def test_untrained_is_repeatable_and_says_so() -> None:
    first, second = (load_cnn("untrained:resnet18") for _ in range(2))
    assert not first.trained
    pixels = crops(2)
    assert torch.equal(first.embed(pixels), second.embed(pixels))
    assert first.embed(pixels).std() > 0


def test_a_vector_does_not_depend_on_its_batch() -> None:
    cnn = load_cnn("untrained:resnet50")
    pixels = crops(5, 128)
    together = cnn.embed(pixels)
    for start, stop in ((0, 1), (1, 3), (2, 5)):
        assert torch.equal(cnn.embed(pixels[start:stop]), together[start:stop])


def test_a_misfit_is_refused(tmp_path: Path) -> None:
    state = dict(random_resnet("resnet18").state_dict())
    state["layer4.0.extra"] = state.pop("layer4.0.conv1.weight")
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(BackboneError, match=r"1 \(layer4.0.conv1.weight\) missing, 1 \(layer4.0.extra\) unexpected"):
        load_cnn(str(tmp_path / "resnet.pth"))
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(BackboneError, match=r"the keys of vit.pth are not those of a ResNet \(cls_token, .*vit.pth::"):
        load_cnn(str(tmp_path / "vit.pth"))


def test_bfloat16_gives_float32_vectors_near_those_of_float32() -> None:
    exact, coarse = load_cnn("untrained:resnet18"), load_cnn("untrained:resnet18", dtype="bfloat16")
    pixels = crops(2)
    assert coarse.embed(pixels).dtype == torch.float32
    assert not torch.equal(coarse.embed(pixels), exact.embed(pixels))
    torch.testing.assert_close(coarse.embed(pixels), exact.embed(pixels), rtol=0.1, atol=0.1)
