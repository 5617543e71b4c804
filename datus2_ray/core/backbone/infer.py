"""The architecture of a ViT, from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datus2_ray.core.backbone.architecture import Architecture
from datus2_ray.core.backbone.names import CLIP, SIGLIP, StateDict, timm_names
from datus2_ray.errors import BackboneError

# Where a width's heads are not 64 wide: SO400M, ViT-H, ViT-g and ViT-G of the image-transformer papers have 16 heads.
WIDE_HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}

#: Tensors of BEiT and data2vec, under timm's or transformers' names.
RELATIVE = re.compile(
    r"(?:blocks\.\d+\.|encoder\.layer\.\d+\.attention\.|encoder\.|rel_pos_bias\.).*relative_position_bias"
)


def infer_vit(state: StateDict, label: str, known: Mapping[str, Any]) -> Architecture:
    """Infer a ViT's architecture from the names and shapes of its tensors, timm's or transformers'.

    Plain ViT, DINO, DINOv2, DINOv3, MAE, iBOT, I-JEPA, SigLIP and CLIP. Patch size, width, depth, MLP width, registers,
    LayerScale, SwiGLU and the position grid are in the tensors. The number of heads is not: if it is not among the
    `known` keyword arguments, heads are 64 wide, except for the widths of :data:`WIDE_HEADS`.

    Raises
    ------
    BackboneError
        If the names are not those of such a model.
    """
    _refuse_unlike(state, label)
    siglip, clip, state = SIGLIP in state, CLIP in state, timm_names(state)
    patches, positions = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    narrow = state.get("blocks.0.mlp.fc1.weight")
    packed, split = state.get("blocks.0.mlp.w12.weight"), state.get("blocks.0.mlp.w1.weight")
    gate = split if split is not None else state.get("blocks.0.mlp.fc1_g.weight")
    hidden = next((weight.shape[0] for weight in (narrow, packed, gate) if weight is not None), None)
    registers = next((state[key] for key in ("register_tokens", "storage_tokens", "reg_token") if key in state), None)
    dinov3 = positions is None and ("storage_tokens" in state or "blocks.0.gamma_1" in state)
    if patches is None or patches.ndim != 4 or hidden is None or (positions is None and not dinov3):
        raise _not_inferred(state, label)
    dim, patch = patches.shape[0], patches.shape[-1]
    if dim % 64 and "num_heads" not in known:
        raise BackboneError(
            f"the number of heads of {label} cannot be inferred from its width {dim}; name it in a JSON beside the "
            f'file: {{"architecture": {{"name": "vit_base_patch16_224", "embed_dim": {dim}, "num_heads": ...}}}}'
        )
    arguments: dict[str, Any] = {
        "patch_size": patch,
        "embed_dim": dim,
        "depth": 1 + max(int(found[1]) for key in state if (found := re.match(r"blocks\.(\d+)\.", key))),
        "num_heads": dim // 64 if dinov3 else WIDE_HEADS.get(dim, dim // 64),
        "mlp_ratio": (hidden + 0.5) / dim,  # timm rounds dim * mlp_ratio down: half a unit keeps the width exact
    }
    registered = 0 if registers is None else registers.shape[1]
    if dinov3:
        biased = "blocks.0.attn.qkv.bias" in state or "blocks.0.attn.q_bias" in state
        name = "vit_small_patch16_dinov3" if gate is None else "vit_huge_plus_patch16_dinov3"
        if dim == 4096:
            arguments["num_heads"] = 32  # DINOv3 7B has heads of 128
        return Architecture(name, arguments | {"qkv_bias": biased, "num_reg_tokens": registered, **known})
    assert positions is not None
    classed = "cls_token" in state
    prefix = int(classed) + (0 if "register_tokens" in state else registered)
    patch_only = math.isqrt(positions.shape[1]) ** 2 == positions.shape[1]
    grid = math.isqrt(positions.shape[1] - (0 if patch_only else prefix))
    swiglu = packed is not None or hidden == 2 * state["blocks.0.mlp.fc2.weight"].shape[1]
    pooled = "attn_pool.latent" in state  # SigLIP's, of timm
    preceded = "norm_pre.weight" in state
    if preceded and not clip and "act_layer" not in known:
        file, name = Path(label).name, f"vit_base_patch{patch}_clip"
        raise BackboneError(
            f"the activation of {label}, a CLIP, is not in its tensors: name it with timm's name for its width, as "
            f"{file}::{name}_quickgelu_224 where OpenAI trained it, {file}::{name}_224 where others did"
        )
    base = "vit_base_patch16_clip_224" if preceded else "vit_base_patch16_224"
    return Architecture(
        "vit_giant_patch14_dinov2" if swiglu else base,
        arguments
        | {
            "img_size": grid * patch,
            "class_token": classed,
            "reg_tokens": registered,
            "no_embed_class": patch_only or "register_tokens" in state,
            "qkv_bias": "blocks.0.attn.qkv.bias" in state,
            "init_values": 1e-5 if "blocks.0.ls1.gamma" in state or "blocks.0.gamma_1" in state else 0.0,
            "global_pool": "map" if pooled else "avg" if "fc_norm.weight" in state or not classed else "token",
            "fc_norm": "fc_norm.weight" in state,
        }
        | ({"act_layer": "gelu_tanh"} if siglip else {"act_layer": "quick_gelu"} if clip else {})
        | dict(known),
    )


def _refuse_unlike(state: StateDict, label: str) -> None:
    """Raise a BackboneError for models that resemble a ViT, and are another architecture."""
    if any(RELATIVE.match(key) for key in state):
        raise BackboneError(
            f"{label} is a BEiT or one of its kin, whose attention has a bias of relative positions: it cannot be "
            "read; give DINO, DINOv2, DINOv3, MAE, I-JEPA, SigLIP, CLIP or a plain ViT"
        )


def _not_inferred(state: StateDict, label: str) -> BackboneError:
    shown = ", ".join(list(state)[:4])
    return BackboneError(
        f"the architecture of {label} cannot be inferred from its {len(state)} keys ({shown}, ...); "
        f"name it as {Path(label).name}::TIMM_NAME or in a JSON beside it"
    )
