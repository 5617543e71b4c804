"""Every format that weights come in, made from random timm models: the outputs are bitwise the source's."""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import Backbone, load_backbone
from datus2_ray.core.backbone.weights import fit_weights, read_weights
from datus2_ray.errors import BackboneError

TOKENS, CLS = Tap("token"), Tap("cls")


pytestmark = pytest.mark.usefixtures("one_thread")


def random_model(name: str, **arguments: Any) -> Any:
    """Build a timm model of which no tensor has the value it starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, **arguments).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


def plain_vit(**arguments: Any) -> Any:
    small = {"img_size": 64, "embed_dim": 128, "depth": 3, "num_heads": 2}
    return random_model("vit_small_patch16_224", **{**small, **arguments})


def images(side: int, batch: int = 2) -> Tensor:
    return torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def assert_same_outputs(backbone: Backbone, source: Any, side: int) -> None:
    pixels = images(side)
    with torch.inference_mode():
        features = source.forward_features(backbone.normalise(pixels))
    found = backbone.extract(pixels, [TOKENS, CLS])
    assert torch.equal(found[TOKENS], features[:, source.num_prefix_tokens :])
    assert torch.equal(found[CLS], features[:, 0])


def full_dino(state: dict[str, Tensor], other: dict[str, Tensor], *, distributed: bool) -> dict[str, Any]:
    """Lay out a checkpoint as DINO's training does, with the options and NumPy scalars that it holds."""
    head = {"head.mlp.0.weight": torch.ones(4, 4), "head.last_layer.weight_g": torch.ones(4, 1)}
    outer = "module." if distributed else ""
    return {
        "student": {f"module.backbone.{key}": value for key, value in other.items()} | head,
        "teacher": {f"{outer}backbone.{key}": value for key, value in state.items()}
        | {f"{outer}{key}": value for key, value in head.items()},
        "optimizer": {"param_groups": [{"lr": np.float64(0.1), "weight_decay": np.float32(0.4), "step": np.int64(7)}]},
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small", patch_size=16),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }


def save_old(content: Any, file: Path) -> None:
    """Save as PyTorch before 1.6 and NumPy before 2 did."""
    torch.save(content, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def chunked(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the blocks as DINOv2's training does: chunk, then the block's own index."""
    return {key.replace("blocks.", "blocks.0." if "blocks.0" in key else "blocks.1."): v for key, v in state.items()}


FORMATS: dict[str, Callable[[dict[str, Tensor], dict[str, Tensor], Path], None]] = {
    "timm": lambda s, _, f: torch.save(s, f),
    "model": lambda s, _, f: torch.save({"model": s, "epoch": 1}, f),
    "state_dict": lambda s, _, f: torch.save({"state_dict": {f"module.{k}": v for k, v in s.items()}}, f),
    "compiled": lambda s, _, f: torch.save({f"_orig_mod.{k}": v for k, v in s.items()}, f),
    "ema": lambda s, o, f: torch.save({"state_dict": o, "state_dict_ema": s}, f),
    "dino backbone": lambda s, _, f: torch.save({k: v for k, v in s.items() if not k.startswith("head.")}, f),
    "dino full": lambda s, o, f: torch.save(full_dino(s, o, distributed=False), f),
    "dino full, distributed": lambda s, o, f: torch.save(full_dino(s, o, distributed=True), f),
    "dino full, old": lambda s, o, f: save_old(full_dino(s, o, distributed=True), f),
    "dino student": lambda s, _, f: torch.save({"student": full_dino(s, s, distributed=True)["student"]}, f),
    "chunked blocks": lambda s, _, f: torch.save(chunked(s), f),
    "mae with decoder": lambda s, _, f: torch.save({"model": s | {"mask_token": torch.ones(1, 1, 8)}}, f),
}


@pytest.mark.parametrize("layout", FORMATS)
def test_every_layout_gives_the_source_model(layout: str, tmp_path: Path) -> None:
    source, other = plain_vit(), plain_vit()
    FORMATS[layout](source.state_dict(), {k: v + 1 for k, v in other.state_dict().items()}, tmp_path / "weights.pth")
    backbone = load_backbone(str(tmp_path / "weights.pth"))
    assert (backbone.patch_size, backbone.dim, backbone.depth, backbone.input_size) == (16, 128, 3, 64)
    assert backbone.trained
    assert backbone.name == "weights.pth"
    assert_same_outputs(backbone, source, 64)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_small_patch16_224", {}),
        ("vit_small_patch16_224", {"patch_size": 8}),
        ("vit_small_patch16_224", {"mlp_ratio": 2.7, "qkv_bias": False}),
        ("vit_small_patch16_224", {"global_pool": "avg"}),
        ("vit_small_patch16_224", {"reg_tokens": 2}),
        ("vit_small_patch16_224", {"img_size": 48, "reg_tokens": 4}),
        ("vit_base_patch14_reg4_dinov2", {"img_size": 70}),
        ("vit_giant_patch14_dinov2", {"img_size": 70}),
        ("deit3_small_patch16_224", {}),
        ("vit_small_patch16_dinov3", {}),
        ("vit_small_patch16_dinov3_qkvb", {}),
        ("vit_small_plus_patch16_dinov3_qkvb", {}),
    ],
)
def test_the_architecture_is_told_from_the_tensors(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    small = {"img_size": 64, "embed_dim": 128, "depth": 2, "num_heads": 2}
    source = random_model(name, **{**small, **arguments})
    safetensors.torch.save_file(source.state_dict(), tmp_path / "weights.safetensors")
    side = arguments.get("img_size", 64)
    backbone = load_backbone(str(tmp_path / "weights.safetensors"), input_size=side)
    assert {key: value.shape for key, value in backbone.model.state_dict().items()} == {
        key: value.shape for key, value in source.state_dict().items() if not key.startswith("head.")
    }
    assert_same_outputs(backbone, source, side)


@pytest.mark.parametrize(("dim", "heads"), [(1152, 16), (1280, 16), (1536, 24)])
def test_wide_models_have_the_heads_of_their_papers(dim: int, heads: int, tmp_path: Path) -> None:
    source = plain_vit(embed_dim=dim, depth=1, num_heads=heads, mlp_ratio=0.5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    assert_same_outputs(load_backbone(str(tmp_path / "weights.pth")), source, 64)


@pytest.mark.parametrize("swiglu", [False, True])
def test_official_dinov2_with_registers(swiglu: bool, tmp_path: Path) -> None:
    source = random_model(
        "vit_giant_patch14_reg4_dinov2" if swiglu else "vit_small_patch14_reg4_dinov2",
        img_size=70,
        embed_dim=128,
        depth=2,
        num_heads=2,
    )
    official = dict(source.state_dict())
    # The official model adds a position to CLS, timm's CLS contains it: whole 64ths make that sum exact in float32.
    position_of_cls = torch.full((1, 1, 128), 0.25)
    with torch.no_grad():
        source.cls_token.copy_((source.cls_token * 64).round() / 64)
    official["cls_token"] = source.cls_token.detach() - position_of_cls
    official["register_tokens"] = official.pop("reg_token")
    official["pos_embed"] = torch.cat((position_of_cls, official["pos_embed"]), dim=1)
    official["mask_token"] = torch.ones(1, 128)
    if swiglu:
        official = {k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for k, v in official.items()}
    torch.save(official, tmp_path / "dinov2.pth")
    backbone = load_backbone(str(tmp_path / "dinov2.pth"), input_size=70)
    assert backbone.model.num_prefix_tokens == 5
    assert_same_outputs(backbone, source, 70)
    del official["mask_token"]  # as after a conversion by hand
    torch.save(official, tmp_path / "dinov2.pth")
    assert_same_outputs(load_backbone(str(tmp_path / "dinov2.pth"), input_size=70), source, 70)


def official_dinov3(source: Any) -> dict[str, Tensor]:
    """Name the tensors of timm's model as DINOv3's own code does, with the masked bias of the keys."""
    names = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "reg_token": "storage_tokens"}
    names |= {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2"}
    names |= {"mlp.fc2": "mlp.w3"} if any("fc1_g" in key for key in source.state_dict()) else {}
    official = {"mask_token": torch.ones(1, source.embed_dim), "rope_embed.periods": torch.ones(16)}
    for key, value in source.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        official[key] = value
    for index in range(len(source.blocks)):
        attention = f"blocks.{index}.attn."
        query, value = official.pop(f"{attention}q_bias", None), official.pop(f"{attention}v_bias", None)
        zeros = torch.zeros(source.embed_dim)
        ends = (zeros if query is None else query, zeros if value is None else value)
        official[f"{attention}qkv.bias"] = torch.cat((ends[0], torch.full_like(zeros, 9.0), ends[1]))
        official[f"{attention}qkv.bias_mask"] = torch.cat((zeros + 1, zeros, zeros + 1))
    return official


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3_qkvb", "vit_huge_plus_patch16_dinov3_qkvb"])
def test_official_dinov3(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = random_model(name, embed_dim=128, depth=2, num_heads=2)
    torch.save(official_dinov3(source), tmp_path / "dinov3.pth")
    backbone = load_backbone(str(tmp_path / "dinov3.pth"))
    assert backbone.model.num_prefix_tokens == 5
    assert backbone.input_size == 256
    assert_same_outputs(backbone, source, 64)
    assert capsys.readouterr().out == ""


def test_biases_are_left_out_only_where_they_are_zero(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 0}
    unbiased = random_model("vit_small_patch16_dinov3", **small)
    target = timm.create_model("vit_small_patch16_dinov3", **small).eval()
    fit_weights(target, official_dinov3(unbiased), "zeros")
    assert all(torch.equal(value, unbiased.state_dict()[key]) for key, value in target.state_dict().items())
    biased = random_model("vit_small_patch16_dinov3_qkvb", **small)
    with pytest.raises(BackboneError, match=r"2 \(blocks.0.attn.qkv.bias, blocks.1.attn.qkv.bias\) unexpected"):
        fit_weights(target, official_dinov3(biased), "biased")
    assert capsys.readouterr().out == ""


def misfits() -> dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]]:
    return {
        "missing": (lambda s: s.pop("blocks.1.norm1.weight"), r"1 \(blocks.1.norm1.weight\) missing, 0 unexpected"),
        "unexpected": (lambda s: s.update(adapter=torch.ones(1)), r"0 missing, 1 \(adapter\) unexpected, 0 of"),
        "reshaped": (
            lambda s: s.update({"norm.bias": torch.ones(5)}),
            r"0 unexpected, 1 \(norm.bias: file 5, model 128\) of another shape",
        ),
        "another patch size": (
            lambda s: s.update({"patch_embed.proj.weight": torch.ones(128, 3, 8, 8)}),
            r"1 \(patch_embed.proj.weight: file 128x3x8x8, model 128x3x16x16\) of another shape",
        ),
        "positions of no square": (
            lambda s: s.update({"pos_embed": torch.ones(1, 12, 128)}),
            r"1 \(pos_embed: file 1x12x128, model 1x17x128\) of another shape",
        ),
        "many": (lambda s: s.clear(), r"\d\d \(cls_token, pos_embed, [^,]*, [^,]*, ...\) missing"),
    }


@pytest.mark.parametrize("case", misfits())
def test_a_misfit_names_its_keys_and_leaves_the_model_alone(case: str) -> None:
    spoil, message = misfits()[case]
    target = plain_vit(num_classes=0)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    state = {key: value + 1 for key, value in before.items()}
    spoil(state)
    with pytest.raises(BackboneError, match=message) as caught:
        fit_weights(target, state, "weights.pth")
    assert "weights.pth does not fit" in str(caught.value)
    assert "FILE::TIMM_NAME" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_reading_changes_neither_the_state_nor_the_types(tmp_path: Path) -> None:
    source = plain_vit(num_classes=0).half()
    torch.save(source.state_dict(), tmp_path / "half.pth")
    state = read_weights(tmp_path / "half.pth")
    assert {value.dtype for value in state.values()} == {torch.float16}
    kept = dict(state)
    target = plain_vit(num_classes=0)
    fit_weights(target, state, "half.pth")
    assert state.keys() == kept.keys()
    assert all(torch.equal(value, state[key].float()) for key, value in target.state_dict().items())


class Malicious:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save(
        {"model": plain_vit().state_dict(), "args": Malicious(trace)},
        tmp_path / "bad.pth",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(BackboneError, match=r"bad.pth was refused: it holds the Python object (posix|nt).mkdir") as e:
        load_backbone(str(tmp_path / "bad.pth"))
    assert "\n" not in str(e.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Malicious(trace)))  # the trap works
    assert trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as weights"),
        (b"these are no weights", "download it again"),
        (b"PK\x03\x04 truncated", "cannot be read as weights"),
        (pickle.dumps({"a": 1}, protocol=2), "download it again"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_file_is_refused(content: bytes, message: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(BackboneError, match=r"weights\.(pth|safetensors)") as caught:
        read_weights(file)
    assert message in str(caught.value) or suffix == ".safetensors"
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@given(content=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_bytes_raise_anything_else(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("bytes") / "weights.pth"
    file.write_bytes(content)
    with pytest.raises(BackboneError, match=r"weights\.pth"):
        read_weights(file)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for suffix, save in ((".pth", torch.save), (".safetensors", safetensors.torch.save_file)):
        file = tmp_path / f"weights{suffix}"
        save(plain_vit().state_dict(), file)
        file.write_bytes(file.read_bytes()[:-1000])
        with pytest.raises(BackboneError, match=r"weights\.\w+ cannot be read as weights"):
            read_weights(file)


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, {"model": {}}, torch.ones(2), {"head.weight": torch.ones(2)}]
)
def test_a_file_without_weights_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(BackboneError, match=r"weights.pth holds no weights"):
        read_weights(tmp_path / "weights.pth")


def test_a_query_encoder_is_taken_and_its_twin_left(tmp_path: Path) -> None:
    tensors = {"layer1.0.conv1.weight": torch.ones(2, 2), "bn1.bias": torch.ones(2)}
    content = {f"module.encoder_q.{key}": value for key, value in tensors.items()}
    content |= {f"module.encoder_k.{key}": value + 1 for key, value in tensors.items()}
    content |= {"module.queue": torch.ones(2, 2), "module.encoder_q.fc.0.weight": torch.ones(2, 2)}
    torch.save({"state_dict": content, "arch": "resnet50"}, tmp_path / "moco.pth.tar")
    state = read_weights(tmp_path / "moco.pth.tar")
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[key], tensors[key]) for key in tensors)


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


def fsdp(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as FSDP and activation checkpointing do, which wrap the model and every block."""
    wrapped = {
        re.sub(r"(blocks\.\d+\.)", r"\1_checkpoint_wrapped_module._fsdp_wrapped_module.", key): value
        for key, value in state.items()
    }
    return prefixed(wrapped, "_fsdp_wrapped_module.")


#: Checkpoints with the wanted tensors and others of the same names, as trainings write them.
TRAININGS: dict[str, Callable[[dict[str, Tensor], dict[str, Tensor]], Any]] = {
    "Lightning": lambda s, o: {
        "state_dict": prefixed(s, "model.net.encoder."),
        "pytorch-lightning_version": "2.6.6",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
    },
    "Lightning, student and teacher": lambda s, o: {
        "state_dict": prefixed(s, "teacher_backbone.vit.") | prefixed(o, "student_backbone.vit.")
    },
    "flat teacher": lambda s, o: (
        prefixed(s, "teacher.backbone.")
        | prefixed(o, "student.backbone.")
        | {"teacher.dino_head.last_layer.weight": torch.ones(2), "student.dino_head.last_layer.weight": torch.ones(2)}
    ),
    "DDP of a compiled model": lambda s, o: {"model": prefixed(s, "module._orig_mod.")},
    "FSDP": lambda s, o: fsdp(s),
    "EMA beside the model": lambda s, o: {"model": o, "model_ema": prefixed(s, "module.")},
    "EMA in the names": lambda s, o: {"state_dict": prefixed(o, "net.") | prefixed(s, "ema.module.")},
    "I-JEPA": lambda s, o: {
        "encoder": prefixed(o, "module."),
        "target_encoder": prefixed(s, "module."),
        "predictor": {"module.predictor_blocks.0.norm1.weight": torch.ones(2)},
    },
    "MoCo v3": lambda s, o: {
        "state_dict": prefixed(s, "module.base_encoder.") | prefixed(o, "module.momentum_encoder.")
    },
    "a second one inside": lambda s, o: s | prefixed(o, "momentum."),
}


@pytest.mark.parametrize("training", TRAININGS)
def test_the_backbone_of_a_training_s_checkpoint_is_found(training: str, tmp_path: Path) -> None:
    source = plain_vit(num_classes=0)
    other = {key: value + 1 for key, value in source.state_dict().items()}
    torch.save(TRAININGS[training](source.state_dict(), other), tmp_path / "w.ckpt")
    assert_same_outputs(load_backbone(str(tmp_path / "w.ckpt")), source, 64)


def test_two_backbones_that_are_alike_are_not_guessed_at(tmp_path: Path) -> None:
    state = plain_vit(num_classes=0).state_dict()
    torch.save(prefixed(state, "left.") | prefixed(state, "right."), tmp_path / "w.pth")
    with pytest.raises(
        BackboneError, match=r"w\.pth holds several backbones \(left, right\); save the state dict of one"
    ):
        read_weights(tmp_path / "w.pth")
