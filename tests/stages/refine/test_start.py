"""What the refinement starts from: told apart by the content of weights, said in the facts, read back as it was."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, PACKAGED_WEIGHTS, fingerprint
from datus2_ray.core.refine.deeplab import SegmenterSpec
from datus2_ray.core.refine.file import to_bytes
from datus2_ray.core.refine.token_layer import TokenSegmenterSpec
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.read_segmenter import read_segmenter
from datus2_ray.errors import BackboneError
from datus2_ray.stages.refine.start import check_same_backbone, start_fingerprint, start_identity, write_start
from datus2_ray.store import storage


def config(tmp_path: Path, *assignments: str, **flags: str) -> RunConfig:
    return load({"source": str(tmp_path), "out": f"{tmp_path}/out", **flags}, preset="paper", assignments=assignments)


def identity(chosen: RunConfig, device: Device) -> dict[str, str | None]:
    return start_identity(chosen, device, start_fingerprint(chosen))


def test_only_what_the_network_starts_from_counts(tmp_path: Path) -> None:
    copyfile(PACKAGED_WEIGHTS, tmp_path / "same.safetensors")
    copyfile(PACKAGED_WEIGHTS.with_suffix(".json"), tmp_path / "same.json")
    linear = identity(config(tmp_path, "refine.network=linear"), "cpu")
    for same in (
        config(tmp_path, "refine.network=linear", backbone=f"{tmp_path}/same.safetensors"),
        config(tmp_path, "refine.network=linear", "refine.output_stride=8"),
    ):
        assert {**same.refine.identity(), **identity(same, "cpu")} == {
            **config(tmp_path, "refine.network=linear").refine.identity(),
            **linear,
        }
    other = config(tmp_path, "refine.network=linear", backbone="untrained:vit_tiny_patch16_224")
    assert identity(other, "cpu") != linear
    plain = identity(config(tmp_path), "cpu")
    assert plain == identity(config(tmp_path, backbone="untrained:vit_tiny_patch16_224"), "cpu")
    assert plain != identity(config(tmp_path), "cuda")  # another encoder


@pytest.mark.parametrize(
    ("network", "spec", "facts"),
    [
        (
            "deeplabv3",
            SegmenterSpec("resnet18", 16, 5, 64),
            {"encoder": "resnet18", "encoder_start": "random", "supervised": False, "output_stride": 16},
        ),
        ("linear", TokenSegmenterSpec(192, 5, 64), {"backbone": fingerprint(DEFAULT_BACKBONE)}),
    ],
)
def test_the_start_is_written_and_said(tmp_path: Path, network: str, spec, facts) -> None:
    uri = f"{tmp_path}/start.safetensors"
    chosen = config(tmp_path, f"refine.network={network}", "refine.size=64")
    assert write_start(uri, chosen, 5, "cpu") == {"network": network, **facts}
    segmenter = read_segmenter(uri, DEFAULT_BACKBONE, "cpu")
    assert segmenter.spec == spec
    assert to_bytes(segmenter) == storage.read_bytes(uri)


def test_other_weights_than_a_layer_was_trained_with_are_refused(tmp_path: Path) -> None:
    check_same_backbone(config(tmp_path), fingerprint(DEFAULT_BACKBONE))
    named = config(tmp_path, backbone="untrained:vit_tiny_patch16_224")
    check_same_backbone(named, "untrained:vit_tiny_patch16_224 timm=0.1")
    with pytest.raises(BackboneError, match="not those that the run was refined with"):
        check_same_backbone(named, fingerprint(DEFAULT_BACKBONE))
