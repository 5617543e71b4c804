"""Weights under the names of transformers' models give the tokens of timm's model with the same tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.backbone.names import timm_names
from datus2_ray.core.backbone.spec import fingerprint, is_assumed, is_supervised, parse_spec
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import check_taps, load_backbone
from datus2_ray.errors import BackboneError
from tests.core.backbone.test_weights import images, random_model

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"img_size": 64, "embed_dim": 128, "depth": 2, "num_heads": 2}
CLASSLESS = {"class_token": False, "global_pool": "avg", "fc_norm": False}

#: Names of a block and of the rest: of ViTModel (DINO, MAE, I-JEPA), of DINOv2, of DINOv3, of SigLIP, and as
#: transformers 5 writes ViTModel.
VIT = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "blocks": "encoder.layer",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.q": "attention.attention.query",
    "attn.k": "attention.attention.key",
    "attn.v": "attention.attention.value",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
    "norm": "layernorm",
}
DINOV2 = VIT | {
    "norm1": "norm1",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "register_tokens": "embeddings.register_tokens",
}
APART = {f"attn.{letter}": f"attention.{letter}_proj" for letter in "qkv"} | {"attn.proj": "attention.o_proj"}
DINOV3 = DINOV2 | APART | {
    "patch_embed.proj": "embeddings.patch_embeddings",
    "blocks": "layer",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc1_g": "mlp.gate_proj",
    "mlp.fc1_x": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
    "gamma_1": "layer_scale1.lambda1",
    "gamma_2": "layer_scale2.lambda1",
    "reg_token": "embeddings.register_tokens",
    "norm": "norm",
}  # fmt: skip
SIGLIP = VIT | {f"attn.{letter}": f"self_attn.{letter}_proj" for letter in "qkv"} | {
    "pos_embed": "embeddings.position_embedding.weight",
    "patch_embed.proj": "embeddings.patch_embedding",
    "blocks": "encoder.layers",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "norm": "post_layernorm",
}  # fmt: skip
CLIP = SIGLIP | {
    "cls_token": "embeddings.class_embedding",
    "norm_pre": "pre_layrnorm",
}
OPEN_CLIP = {
    "cls_token": "class_embedding",
    "pos_embed": "positional_embedding",
    "patch_embed.proj": "conv1",
    "blocks": "transformer.resblocks",
    "norm_pre": "ln_pre",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attn.qkv.weight": "attn.in_proj_weight",
    "attn.qkv.bias": "attn.in_proj_bias",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "norm": "ln_post",
}
VIT5 = VIT | APART | {"blocks": "layers", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}


def renamed(state: dict[str, Tensor], names: dict[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Name timm's tensors as transformers does, with queries, keys and values apart."""
    named = {}
    for key, tensor in apart(state).items():
        block = re.match(r"blocks\.(\d+)\.", key)
        rest = key[block.end() :] if block else key
        ours = max((name for name in names if rest == name or rest.startswith(f"{name}.")), key=len)
        start = f"{names['blocks']}.{block[1]}." if block else ""
        named[f"{prefix}{start}{names[ours]}{rest.removeprefix(ours)}"] = tensor.clone()
    return named


def apart(state: dict[str, Tensor]) -> dict[str, Tensor]:
    split = {}
    for key, tensor in state.items():
        if ".attn.qkv." in key:
            split |= {key.replace("qkv", letter): third for letter, third in zip("qkv", tensor.chunk(3), strict=True)}
        elif key.endswith(("q_bias", "v_bias")):  # of EVA, where keys have no bias
            split[f"{key[:-6]}{key[-6]}.bias"] = tensor
        elif not key.startswith(("head.", "rope")) and not key.endswith("k_bias"):
            split[key] = tensor
    return split


def dinov2_registers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the position of CLS, which timm's CLS contains, apart: whole 64ths make the sum exact."""
    position = torch.full((1, 1, 128), 0.25)
    return {
        **{key: value for key, value in state.items() if key != "reg_token"},
        "cls_token": state["cls_token"] - position,
        "pos_embed": torch.cat((position, state["pos_embed"]), dim=1),
        "register_tokens": state["reg_token"],
    }


def weights_in_out(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.replace("mlp.fc1", "mlp.weights_in").replace("mlp.fc2", "mlp.weights_out"): v for key, v in state.items()
    }


def gated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split the first layer of a SwiGLU as transformers 5 does."""
    parts = {}
    for key, tensor in state.items():
        if ".mlp.fc1." in key:
            halves = zip(("gate", "up"), tensor.chunk(2), strict=True)
            parts |= {key.replace("fc1", f"{name}_proj"): half.clone() for name, half in halves}
        else:
            parts[key.replace("mlp.fc2", "mlp.down_proj")] = tensor
    return parts


def siglip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = renamed(state, SIGLIP, "vision_model.")
    table = "vision_model.embeddings.position_embedding.weight"
    named[table] = named[table][0]
    head = {"vision_model.head.probe": torch.ones(1, 1, 128), "vision_model.head.mlp.fc1.weight": torch.ones(4, 128)}
    return (
        named
        | head
        | {"text_model.embeddings.token_embedding.weight": torch.ones(5, 128), "logit_scale": torch.ones(1)}
    )


def clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = renamed(state, CLIP, "vision_model.")
    named["vision_model.embeddings.class_embedding"] = named["vision_model.embeddings.class_embedding"][0, 0]
    named["vision_model.embeddings.position_embedding.weight"] = state["pos_embed"][0].clone()
    named["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    return named | {"visual_projection.weight": torch.ones(8, 128), "logit_scale": torch.ones(1)}


def open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name timm's tensors as OpenAI and open_clip do, beside the tower of texts, whose blocks have the same names."""
    named = renamed({key: value for key, value in state.items() if "qkv" not in key}, OPEN_CLIP, "visual.")
    for key in state:
        if ".attn.qkv." in key:
            block = key.split(".")[1]
            named[f"visual.transformer.resblocks.{block}.attn.in_proj_{key.split('.')[-1]}"] = state[key].clone()
    named["visual.class_embedding"] = state["cls_token"][0, 0].clone()
    named["visual.positional_embedding"] = state["pos_embed"][0].clone()
    text = {"transformer.resblocks.0.attn.in_proj_weight": torch.ones(24, 8), "positional_embedding": torch.ones(7, 8)}
    return named | text | {"visual.proj": torch.ones(128, 8), "logit_scale": torch.ones(1)}


def mae(state: dict[str, Tensor]) -> dict[str, Tensor]:
    decoder = {"decoder.decoder_embed.weight": torch.ones(4, 128), "decoder.mask_token": torch.ones(1, 1, 4)}
    return renamed(state, VIT, "vit.") | decoder


Layout = tuple[str, dict[str, Any], Callable[[dict[str, Tensor]], dict[str, Tensor]]]
MASK = {"embeddings.mask_token": torch.ones(1, 128)}
POOLER = {"pooler.dense.weight": torch.ones(128, 128), "pooler.dense.bias": torch.ones(128)}

#: timm's name and arguments of the model whose tensors are renamed, and how.
LAYOUTS: dict[str, Layout] = {
    "ViT or DINO": ("vit_small_patch16_224", SMALL, lambda s: renamed(s, VIT) | POOLER),
    "ViT of transformers 5": ("vit_small_patch16_224", SMALL, lambda s: renamed(s, VIT5)),
    "ViT with a classifier": (
        "vit_small_patch16_224", SMALL, lambda s: renamed(s, VIT, "vit.") | {"classifier.weight": torch.ones(9, 128)},
    ),
    "MAE": ("vit_small_patch16_224", SMALL, mae),
    "I-JEPA": ("vit_small_patch16_224", SMALL | CLASSLESS, lambda s: renamed(s, VIT)),
    "SigLIP, both towers": ("vit_small_patch16_224", SMALL | CLASSLESS | {"act_layer": "gelu_tanh"}, siglip),
    "CLIP, both towers": ("vit_base_patch16_clip_quickgelu_224", SMALL, clip),
    "DINOv2": ("vit_small_patch14_dinov2", SMALL | {"img_size": 70}, lambda s: renamed(s, DINOV2) | MASK),
    "DINOv2, registers": (
        "vit_small_patch14_reg4_dinov2", SMALL | {"img_size": 70},
        lambda s: renamed(dinov2_registers(s), DINOV2) | MASK,
    ),
    "DINOv2, SwiGLU": (
        "vit_giant_patch14_dinov2", SMALL | {"img_size": 70}, lambda s: weights_in_out(renamed(s, DINOV2)) | MASK,
    ),
    "DINOv2, SwiGLU of transformers 5": (
        "vit_giant_patch14_dinov2", SMALL | {"img_size": 70}, lambda s: gated(renamed(s, DINOV2)) | MASK,
    ),
    "DINOv3": ("vit_small_patch16_dinov3_qkvb", SMALL, lambda s: renamed(s, DINOV3)),
    "DINOv3, gated": ("vit_huge_plus_patch16_dinov3_qkvb", SMALL, lambda s: renamed(s, DINOV3)),
    "DINOv3 of transformers 5": (
        "vit_small_patch16_dinov3", SMALL, lambda s: renamed(s, DINOV3 | {"blocks": "model.layer"}),
    ),
}  # fmt: skip


def source_of(layout: str) -> Any:
    name, arguments, _ = LAYOUTS[layout]
    source = random_model(name, **arguments, num_classes=0)
    if source.cls_token is not None:
        with torch.no_grad():
            source.cls_token.copy_((source.cls_token * 64).round() / 64)
    return source


@pytest.mark.parametrize("layout", LAYOUTS)
def test_transformers_names_give_the_tokens_of_timm_s(layout: str, tmp_path: Path) -> None:
    source = source_of(layout)
    safetensors.torch.save_file(LAYOUTS[layout][2](source.state_dict()), tmp_path / "w.safetensors")
    side = 70 if "DINOv2" in layout else 64
    backbone = load_backbone(str(tmp_path / "w.safetensors"), input_size=side)
    pixels = images(side)
    with torch.inference_mode():
        expected = source.forward_features(backbone.normalise(pixels))
    taps = [Tap("token"), *([Tap("cls")] if source.cls_token is not None else [])]
    found = backbone.extract(pixels, taps)
    torch.testing.assert_close(found[Tap("token")], expected[:, source.num_prefix_tokens :], rtol=0, atol=1e-5)
    if len(taps) == 2:
        torch.testing.assert_close(found[Tap("cls")], expected[:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_base_patch16_clip_224", "vit_base_patch16_clip_quickgelu_224"])
def test_open_clip_s_names_give_the_tokens_of_timm_s_where_the_activation_is_named(name: str, tmp_path: Path) -> None:
    source = random_model(name, **SMALL, num_classes=0)
    safetensors.torch.save_file(open_clip(source.state_dict()), tmp_path / "w.safetensors")
    file = str(tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=r"a CLIP, is not in .* w\.safetensors::vit_base_patch16_clip_224"):
        load_backbone(file)
    (tmp_path / "w.json").write_text(json.dumps({"architecture": {"name": name, **SMALL}}))
    backbone = load_backbone(file, input_size=64)
    with torch.inference_mode():
        expected = source.forward_features(backbone.normalise(images(64)))
    found = backbone.extract(images(64), [Tap("token"), Tap("cls")])
    torch.testing.assert_close(found[Tap("token")], expected[:, 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[Tap("cls")], expected[:, 0], rtol=0, atol=1e-5)


def test_beit_is_refused_with_what_can_be_read(tmp_path: Path) -> None:
    state = renamed(source_of("ViT or DINO").state_dict(), VIT, "beit.")
    state["beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"] = torch.ones(2, 2)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=r"w\.safetensors is a BEiT .* cannot be read; give DINO") as caught:
        load_backbone(str(tmp_path / "w.safetensors"))
    assert "::" not in str(caught.value)


@pytest.mark.parametrize("own", ["safetensors", "bin"])
def test_weights_in_several_files_are_those_in_one(own: str, tmp_path: Path) -> None:
    whole = repository(tmp_path / "whole", TRANSFORMERS)
    split = tmp_path / "split"
    split.mkdir()
    (split / "config.json").write_text(json.dumps(TRANSFORMERS))
    state = safetensors.torch.load_file(whole / "model.safetensors")
    stem, suffix = ("model", ".safetensors") if own == "safetensors" else ("pytorch_model", ".bin")
    pieces = [f"{stem}-0000{number}-of-00002{suffix}" for number in (1, 2)]
    places = {key: pieces[number % 2] for number, key in enumerate(state)}
    for piece in pieces:
        tensors = {key: tensor for key, tensor in state.items() if places[key] == piece}
        if own == "safetensors":
            safetensors.torch.save_file(tensors, split / piece)
        else:
            torch.save(tensors, split / piece)
    index = split / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    expected = load_backbone(str(whole), input_size=64)
    before = fingerprint(str(split))
    for given in (split, index, split / pieces[0]):
        found = load_backbone(str(given), input_size=64)
        assert found.name == f"split/{index.name}"
        assert fingerprint(str(given)) == before
        for key, tensor in expected.model.state_dict().items():
            assert torch.equal(tensor, found.model.state_dict()[key])
    (split / pieces[1]).write_bytes((split / pieces[0]).read_bytes())
    assert fingerprint(str(split)) != before
    (split / pieces[1]).unlink()
    with pytest.raises(BackboneError, match=rf"{index.name} names {pieces[1]}, which is not beside it; download all"):
        load_backbone(str(split))
    for text in ("[", "{}", '{"weight_map": {"a": "../model.safetensors"}}'):
        index.write_text(text)
        with pytest.raises(BackboneError, match=r"no index of weights|of another folder"):
            load_backbone(str(split))


def test_names_of_others_stay(tmp_path: Path) -> None:
    state = random_model("vit_small_patch16_224", **SMALL).state_dict()
    assert timm_names(state) is state


def test_a_tensor_without_a_counterpart_is_named(tmp_path: Path) -> None:
    state = renamed(source_of("DINOv2").state_dict(), DINOV2)
    state["encoder.layer.1.adapter.weight"] = torch.ones(2)
    del state["encoder.layer.0.attention.attention.key.weight"]
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BackboneError, match=r"blocks\.0\.attn\.qkv\.weight\) missing.*blocks\.1\.adapter\.weight"):
        load_backbone(str(tmp_path / "w.safetensors"))


def repository(folder: Path, config: dict[str, Any], processor: dict[str, Any] | None = None) -> Path:
    """Write weights as ``save_pretrained`` does: 4 heads of 32, which no shape shows."""
    folder.mkdir()
    source = random_model("vit_small_patch16_224", **SMALL | {"num_heads": 4}, num_classes=0)
    state = source.state_dict() if "architecture" in config else renamed(source.state_dict(), VIT)
    safetensors.torch.save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


TIMM = {
    "architecture": "vit_small_patch16_224",
    "num_classes": 0,
    "model_args": SMALL | {"num_heads": 4},
    "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.1, 0.3], "num_classes": 0},
}
TRANSFORMERS = {"model_type": "vit", "num_attention_heads": 4, "hidden_act": "gelu", "layer_norm_eps": 0.01}


@pytest.mark.parametrize("own", ["timm", "transformers"])
def test_a_folder_of_the_hub_s_says_heads_mean_and_deviation_itself(own: str, tmp_path: Path) -> None:
    processor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.1, 0.3], "do_normalize": True}
    folder = repository(tmp_path / "mine", *((TIMM,) if own == "timm" else (TRANSFORMERS, processor)))
    norm = {} if own == "timm" else {"norm_layer": partial(nn.LayerNorm, eps=0.01)}
    source = random_model("vit_small_patch16_224", **SMALL | {"num_heads": 4} | norm, num_classes=0)
    backbone = load_backbone(str(folder), input_size=64)
    assert (backbone.mean, backbone.std) == ((0.5, 0.4, 0.3), (0.2, 0.1, 0.3))
    assert backbone.name == "mine/model.safetensors"
    with torch.inference_mode():
        expected = source.forward_features(backbone.normalise(images(64)))[:, 1:]
    torch.testing.assert_close(backbone.extract(images(64), [Tap("token")])[Tap("token")], expected, rtol=0, atol=1e-5)
    spec = parse_spec(str(folder))
    assert not is_assumed(spec)
    assert not is_supervised(spec)
    before = fingerprint(str(folder))
    labelled = (
        {**TIMM, "num_classes": 7}
        if own == "timm"
        else {**TRANSFORMERS, "architectures": ["ViTForImageClassification"]}
    )
    (folder / "config.json").write_text(json.dumps(labelled))
    assert is_supervised(spec)
    assert fingerprint(str(folder)) != before


def test_pixels_that_are_not_normalised_and_labels_are_seen_in_the_config(tmp_path: Path) -> None:
    config = {**TRANSFORMERS, "architectures": ["ViTForImageClassification"]}
    folder = repository(tmp_path / "mine", config, {"do_normalize": False, "image_mean": [0.5, 0.5, 0.5]})
    backbone = load_backbone(str(folder), input_size=64)
    assert (backbone.mean, backbone.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert is_supervised(parse_spec(str(folder)))


def test_only_beside_weights_of_a_repository_is_a_config_theirs(tmp_path: Path) -> None:
    folder = repository(tmp_path / "mine", {**TRANSFORMERS, "num_attention_heads": 1}, {"image_mean": [0.1, 0.1, 0.1]})
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    backbone = load_backbone(str(folder / "other.safetensors"))
    assert (backbone.mean, backbone.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert backbone.model.blocks[0].attn.num_heads == 2
    assert is_assumed(parse_spec(str(folder / "other.safetensors")))
    (folder / "other.json").write_text(json.dumps({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}))
    assert not is_assumed(parse_spec(str(folder / "other.safetensors")))


def test_a_hub_s_cache_shows_the_name_of_the_repository(tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--facebook--dinov2-small" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    repository(snapshot, TRANSFORMERS)
    assert load_backbone(str(snapshot)).name == "facebook/dinov2-small"


def test_an_error_does_not_send_in_a_circle(tmp_path: Path) -> None:
    safetensors.torch.save_file(renamed(source_of("I-JEPA").state_dict(), VIT), tmp_path / "w.safetensors")
    weights = str(tmp_path / "w.safetensors")
    check_taps(weights, [Tap("token"), Tap("key", 1)])
    with pytest.raises(BackboneError, match=r"no CLS token; .* --set discover\.descriptor=tokens"):
        check_taps(weights, [Tap("cls")])
    with pytest.raises(BackboneError, match=r"has 2 blocks, so there is no block 7"):
        check_taps(weights, [Tap("token", 7)])
    # What was named is not asked for again.
    with pytest.raises(BackboneError, match=r"they are not of vit_base_patch16_224: name another") as caught:
        load_backbone(f"{weights}::vit_base_patch16_224")
    assert "::TIMM_NAME" not in str(caught.value)
