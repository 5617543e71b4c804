"""The file of a DeepLabV3: it comes back as it was; a damaged one is refused."""

from __future__ import annotations

import pytest
import torch

from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter
from datus2_ray.core.refine.file import from_bytes, to_bytes
from datus2_ray.errors import BackboneError


@pytest.fixture(scope="module")
def kept() -> bytes:
    return to_bytes(build_segmenter(SegmenterSpec("resnet18", 16, 3, 64), seed=1))


def test_a_kept_segmenter_is_the_same_segmenter(kept: bytes) -> None:
    built, again = build_segmenter(SegmenterSpec("resnet18", 16, 3, 64), seed=1).eval(), from_bytes(kept).eval()
    assert again.spec == built.spec
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), built(images))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:1000],
        lambda data: b"no weights",
        lambda data: data.replace(b"resnet18", b"resnet34"),
    ],
)
def test_a_damaged_segmenter_is_refused_in_one_line(kept: bytes, spoil) -> None:
    with pytest.raises(BackboneError, match="refine again") as raised:
        from_bytes(spoil(kept))
    assert "\n" not in str(raised.value)
