"""What a file's tensors do not tell comes from its name or its JSON; what timm does not have is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.backbone.cnn import load_cnn
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.errors import BackboneError

pytestmark = pytest.mark.usefixtures("one_thread")


def saved(file: Path, name: str, **arguments: Any) -> Any:
    """Save a timm model with random weights, and return it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, **arguments).eval()
    torch.save(model.state_dict(), file)
    return model


def same_tokens(file: str, source: Any, side: int) -> bool:
    pixels = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    backbone = load_backbone(file, input_size=side)
    with torch.inference_mode():
        features = source.forward_features(backbone.normalise(pixels))
    return torch.equal(backbone.extract(pixels, [Tap("token")])[Tap("token")], features[:, source.num_prefix_tokens :])


def test_heads_come_from_the_name_after_the_file(tmp_path: Path) -> None:
    source = saved(tmp_path / "w.pth", "test_vit")  # two heads of 32, which no shape shows
    assert not same_tokens(f"{tmp_path}/w.pth", source, 160)
    assert same_tokens(f"{tmp_path}/w.pth::test_vit", source, 160)


@pytest.mark.parametrize("as_arguments", [False, True])
def test_heads_come_from_the_json_beside_the_file(as_arguments: bool, tmp_path: Path) -> None:
    source = saved(tmp_path / "w.pth", "test_vit")
    arguments = {"img_size": 160, "embed_dim": 64, "depth": len(source.blocks), "num_heads": 2, "mlp_ratio": 3}
    content = {
        "architecture": arguments if as_arguments else "test_vit",
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.1, 0.3],
        "input_size": 96,
    }
    (tmp_path / "w.json").write_text(json.dumps(content))
    assert same_tokens(f"{tmp_path}/w.pth", source, 160)
    backbone = load_backbone(f"{tmp_path}/w.pth")
    assert (backbone.mean, backbone.std, backbone.input_size) == ((0.5, 0.4, 0.3), (0.2, 0.1, 0.3), 96)


def test_a_json_varies_a_named_model(tmp_path: Path) -> None:
    small = {"embed_dim": 96, "depth": 2, "num_heads": 4, "num_reg_tokens": 2}
    source = saved(tmp_path / "w.pth", "vit_small_patch16_dinov3", **small)
    with pytest.raises(BackboneError, match=r'cannot be inferred from its width 96.*"num_heads"'):
        load_backbone(f"{tmp_path}/w.pth")
    (tmp_path / "w.json").write_text(json.dumps({"architecture": {"name": "vit_small_patch16_dinov3", **small}}))
    assert same_tokens(f"{tmp_path}/w.pth", source, 64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"w.json, the configuration beside w.pth, is not valid"),
        ('{"heads": 2}', r"heads Extra inputs.*keys architecture, mean, std, input_size"),
        ('{"mean": [0.5]}', r"mean"),
        ('{"architecture": {"heads": 2}}', r"w.pth: timm cannot build vit_base_patch16_224 with .*heads"),
        ('{"architecture": "vit_tiny"}', r"vit_tiny, asked for as w.pth, is not a vision transformer"),
    ],
)
def test_a_json_that_makes_no_sense_is_refused(content: str, message: str, tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", "test_vit")
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(BackboneError, match=message) as caught:
        load_backbone(f"{tmp_path}/w.pth")
    assert "\n" not in str(caught.value)


def test_preprocessing_is_of_imagenet_unless_a_tag_tells(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", "test_vit")
    plain, tagged = (load_backbone(f"{tmp_path}/w.pth::test_vit{tag}") for tag in ("", ".r160_in1k"))
    assert (plain.mean, plain.std) == (IMAGENET_MEAN, IMAGENET_STD)
    published = timm.get_pretrained_cfg("test_vit.r160_in1k")
    assert (tagged.mean, tagged.std) == (published.mean, published.std) != (plain.mean, plain.std)


def test_names_that_are_no_transformer_with_patches() -> None:
    for name in ("resnet50", "swin_tiny_patch4_window7_224", "vit_base_r50_s16_224"):
        with pytest.raises(BackboneError, match=rf"{name}, asked for as untrained:{name}, is not a vision transf"):
            load_backbone(f"untrained:{name}")
    with pytest.raises(BackboneError, match="test_vit, asked for as untrained:test_vit, is not a ResNet"):
        load_cnn("untrained:test_vit")


def test_files_of_other_models_are_not_guessed_at(tmp_path: Path) -> None:
    saved(tmp_path / "resnet.pth", "resnet18")
    saved(tmp_path / "swin.pth", "swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1))
    for name in ("resnet.pth", "swin.pth"):
        with pytest.raises(BackboneError, match=rf"architecture of {name} cannot be inferred from its \d+ keys .*::"):
            load_backbone(str(tmp_path / name))


@pytest.mark.parametrize(("load", "name"), [(load_backbone, "vit_small_patch8_224.dino"), (load_cnn, "resnet50")])
def test_an_unreachable_hub_is_one_line_with_the_remedy(
    load: Any, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    option = "--backbone" if load is load_backbone else "--set discover.cnn="
    with pytest.raises(BackboneError, match=rf"weights of {name} could not be fetched .* give {option}") as caught:
        load(name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_name_without_published_weights() -> None:
    name = next(name for name in timm.list_models("vit_*_gap_*") if not timm.is_model_pretrained(name))
    with pytest.raises(BackboneError, match=rf"timm has no weights for {name}; give --backbone FILE::{name} or untrai"):
        load_backbone(name)


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", "test_vit")
    before = torch.random.get_rng_state()
    load_backbone("untrained:test_vit")
    load_backbone(f"{tmp_path}/w.pth")
    load_cnn("untrained:resnet18")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_untrained_weights_are_the_same_whatever_came_before() -> None:
    threads = torch.get_num_threads()
    try:
        states = []
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            states.append(load_backbone("untrained:vit_tiny_patch16_224").model.state_dict())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert states[0]["blocks.0.attn.qkv.weight"].std() > 0
