"""The file of a segmenter: either kind comes back as it was; a damaged one is refused."""

from __future__ import annotations

import pytest
import torch

from datus2_ray.core.backbone.vit import Backbone, load_backbone
from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter
from datus2_ray.core.refine.file import Segmenter, from_bytes, to_bytes
from datus2_ray.core.refine.token_layer import TokenSegmenter, TokenSegmenterSpec
from datus2_ray.errors import BackboneError


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained:vit_tiny_patch16_224")


@pytest.fixture(params=["deeplabv3", "linear"])
def built(request: pytest.FixtureRequest, backbone: Backbone) -> Segmenter:
    if request.param == "deeplabv3":
        return build_segmenter(SegmenterSpec("resnet18", 16, 3, 64), seed=1).eval()
    segmenter = TokenSegmenter(TokenSegmenterSpec(192, 3, 64), backbone)
    torch.nn.init.normal_(segmenter.layer.weight, generator=torch.Generator().manual_seed(0))
    return segmenter.eval()


def refuse() -> Backbone:
    raise AssertionError("a backbone was loaded")


def test_a_kept_segmenter_is_the_same_segmenter(built: Segmenter, backbone: Backbone) -> None:
    load = (lambda: backbone) if isinstance(built, TokenSegmenter) else refuse
    again = from_bytes(to_bytes(built), load).eval()
    assert again.spec == built.spec
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), built(images))
        assert built(images).any()


def test_a_layer_is_kept_without_its_backbone(backbone: Backbone) -> None:
    assert len(to_bytes(TokenSegmenter(TokenSegmenterSpec(192, 3, 64), backbone))) < 10_000


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:1000],
        lambda data: b"no weights",
        lambda data: data.replace(b"resnet18", b"resnet34").replace(b'\\"classes\\": 3', b'\\"classes\\": 4'),
    ],
)
def test_a_damaged_segmenter_is_refused_in_one_line(built: Segmenter, backbone: Backbone, spoil) -> None:
    with pytest.raises(BackboneError, match="refine again") as raised:
        from_bytes(spoil(to_bytes(built)), lambda: backbone)
    assert "\n" not in str(raised.value)


def test_a_layer_for_other_tokens_says_which(backbone: Backbone) -> None:
    kept = to_bytes(TokenSegmenter(TokenSegmenterSpec(192, 3, 64), backbone))
    other = load_backbone("untrained:vit_small_patch16_224")
    with pytest.raises(BackboneError, match=r"those of .*vit_small_patch16_224 have 384"):
        from_bytes(kept, lambda: other)


def test_a_fault_of_the_backbone_does_not_pass_for_a_damaged_file() -> None:
    def run_out() -> Backbone:
        raise torch.OutOfMemoryError("no memory on the device")

    with pytest.raises(torch.OutOfMemoryError):
        from_bytes(to_bytes(TokenSegmenter(TokenSegmenterSpec(192, 3, 64))), run_out)
