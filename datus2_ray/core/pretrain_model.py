"""The ViT that a self-supervised training starts from, and the file that it ends in."""

from __future__ import annotations

import json
from typing import Any, cast

import safetensors.torch
import timm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from datus2_ray.core.architecture import IMAGENET_MEAN, IMAGENET_STD, infer_vit
from datus2_ray.core.backbone import load_backbone
from datus2_ray.core.pretrain_recipe import Recipe
from datus2_ray.errors import BackboneError

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


def build_vit(recipe: Recipe, start: str | None) -> VisionTransformer:
    """Build the model: random, by torch's own generator, or a backbone of any kind that can be masked.

    Parameters
    ----------
    recipe : Recipe
        Its size, where it starts from scratch.
    start : str or None
        As for :func:`~datus2_ray.core.backbone.load_backbone`.

    Raises
    ------
    BackboneError
        The backbone cannot be had, is none of timm's plain vision transformers with a CLS token, or its patches do not
        fit the views.
    """
    if start is None:
        vit = timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True,
            patch_size=recipe.patch_size, embed_dim=recipe.dim, depth=recipe.depth,
            num_heads=recipe.dim // 64, img_size=recipe.image_size,
        )  # fmt: skip
        return cast(VisionTransformer, vit)
    backbone = load_backbone(start)
    if not isinstance(backbone.model, VisionTransformer) or backbone.model.cls_token is None:
        raise BackboneError(f"pretrain cannot go on from {backbone.name}: it takes plain ViTs with a CLS token")
    blocks: Any = backbone.model.blocks
    if infer_vit(backbone.model.state_dict(), backbone.name).arguments["num_heads"] != blocks[0].attn.num_heads:
        raise BackboneError(f"pretrain cannot go on from {backbone.name}: its file would not tell its number of heads")
    for size in (recipe.image_size, recipe.global_size, recipe.local_size):
        backbone.grid(size, size)
    return backbone.model.train().requires_grad_()


def start_statistics(start: str | None) -> Statistics:
    """Give mean and deviation of the pixels for the model that a training starts from."""
    if start is None:
        return IMAGENET_MEAN, IMAGENET_STD
    backbone = load_backbone(start)
    return backbone.mean, backbone.std


def to_bytes(vit: nn.Module) -> bytes:
    """Write the weights as a safetensors file in float16, as ``--backbone FILE`` takes it."""
    state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in vit.state_dict().items()}
    return safetensors.torch.save(state)


def config_json(recipe: Recipe, statistics: Statistics) -> bytes:
    """Write the JSON that lies beside the file, with what the tensors alone do not tell."""
    mean, std = statistics
    return json.dumps({"mean": mean, "std": std, "input_size": recipe.image_size}, indent=1).encode()
