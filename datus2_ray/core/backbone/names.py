"""The tensors of transformers' vision models under the names that timm reads.

Of DINO, MAE and plain ViT (ViTModel), I-JEPA, DINOv2 with and without registers, DINOv3 and the vision towers of
SigLIP and CLIP, as transformers 4 and 5 write them; and CLIP's as OpenAI and open_clip do.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

StateDict = dict[str, Tensor]

#: The patch filters of timm's and of transformers' models, which every one of them has, after any prefix.
PATCH_FILTERS = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?:patch_embed\.proj|embeddings\.patch_embeddings?(?:\.projection)?)\.weight"
)

#: By these SigLIP's and CLIP's vision towers are known, which have the same names otherwise, and that of open_clip.
SIGLIP, CLIP = "embeddings.patch_embedding.bias", "embeddings.class_embedding"
OPEN_CLIP = "transformer.resblocks.0.attn.in_proj_weight"

#: What serves a classifier, a text, or the training alone.
UNUSED = re.compile(r"(?:pooler|head|classifier)\.|embeddings\.(?:mask_token|position_ids)$")

#: Patterns and replacements, applied one after the other.
RENAMED = (
    (r"^embeddings\.patch_embeddings?\.(?:projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings?(?:\.weight)?$", "pos_embed"),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^pre_layrnorm\.", "norm_pre."),  # transformers' own spelling
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.", ""),
    (r"^(?:encoder\.|model\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"^(?:post_)?layernorm\.", "norm."),
    (r"\.(?:layernorm_before|layer_norm1)\.", ".norm1."),
    (r"\.(?:layernorm_after|layer_norm2)\.", ".norm2."),
    (r"\.(?:attention|self_attn)\.(?:attention\.)?([qkv])(?:uery|ey|alue|_proj)\.", r".attn.\1."),
    (r"\.(?:attention|self_attn)\.(?:output\.dense|o_proj|out_proj)\.", ".attn.proj."),
    (r"\.(?:intermediate\.dense|mlp\.weights_in)\.", ".mlp.fc1."),
    (r"\.(?:output\.dense|mlp\.weights_out|mlp\.down_proj)\.", ".mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
)

#: The same for open_clip; the projection to the space of texts is left out.
OPEN_CLIP_NAMES = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)

QUERY = re.compile(r"(.*\.attn\.)q(\.weight)")


def timm_names(state: StateDict) -> StateDict:
    """Return a state dict under timm's names, q, k and v joined; one that is not of transformers stays as it is.

    What has no known counterpart keeps its name, so that it is named where the tensors do not fit.
    """
    if OPEN_CLIP in state:
        return _shaped({_renamed(key, OPEN_CLIP_NAMES): tensor for key, tensor in state.items() if key != "proj"})
    if not any(key.startswith("embeddings.") and PATCH_FILTERS.fullmatch(key) for key in state):
        return state
    named: StateDict = {}
    for key, tensor in state.items():
        if UNUSED.match(key):
            continue
        named[_renamed(key, RENAMED)] = tensor
    named = _shaped(named)
    if "pos_embed" not in named and "register_tokens" in named:
        named["storage_tokens"] = named.pop("register_tokens")  # DINOv3's own name, which timm converts
    return _gates(_joined(named))


def _renamed(key: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in names:
        key = re.sub(pattern, replacement, key)
    return key


def _shaped(state: StateDict) -> StateDict:
    """Reshape to timm's: positions of SigLIP and CLIP, which are rows of an embedding, and CLIP's CLS token."""
    for key in ("pos_embed", "cls_token"):
        if key in state and state[key].ndim < 3:
            state[key] = state[key].reshape(1, -1, state[key].shape[-1])
    return state


def _joined(state: StateDict) -> StateDict:
    """Join the projections of queries, keys and values; DINOv3's keys have no bias, which is one of 0."""
    joined = {key: tensor for key, tensor in state.items() if not re.search(r"\.attn\.[qkv]\.", key)}
    for key in state:
        found = QUERY.fullmatch(key)
        if found is None:
            continue
        weights = [state.get(f"{found[1]}{letter}.weight") for letter in "qkv"]
        biases = [state.get(f"{found[1]}{letter}.bias") for letter in "qkv"]
        whole = [weight for weight in weights if weight is not None]
        if len(whole) < 3:
            joined |= {name: state[name] for name in state if name.startswith(found[1])}
            continue
        joined[f"{found[1]}qkv.weight"] = torch.cat(whole)
        if any(bias is not None for bias in biases):
            parts = zip(biases, whole, strict=True)
            filled = [weight.new_zeros(len(weight)) if bias is None else bias for bias, weight in parts]
            joined[f"{found[1]}qkv.bias"] = torch.cat(filled)
    return joined


def _gates(state: StateDict) -> StateDict:
    """Name the first layers of an MLP: DINOv3's gate is a layer of its own, DINOv2's is the first half of one."""
    gate, up, apart = ".mlp.gate_proj.", ".mlp.up_proj.", "pos_embed" not in state
    named: StateDict = {}
    for key, tensor in state.items():
        twin = key.replace(gate, up) if gate in key else key.replace(up, gate)
        if (gate in key or up in key) and twin in state:
            if apart:
                named[key.replace(gate, ".mlp.fc1_g.").replace(up, ".mlp.fc1_x.")] = tensor
            elif gate in key:
                named[key.replace(gate, ".mlp.fc1.")] = torch.cat((tensor, state[twin]))
        else:
            named[key.replace(up, ".mlp.fc1.")] = tensor
    return named
