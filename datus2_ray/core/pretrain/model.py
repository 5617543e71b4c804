"""The ViT that a self-supervised training starts from, and the file that it ends in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import timm
from lightly.models.utils import initialize_positional_embedding
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.backbone.infer import infer_vit
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.texture import TAUGHT
from datus2_ray.errors import BackboneError


@dataclass(frozen=True)
class Start:
    """A model in training mode, and the RGB statistics that its pixels, in 0..1, are normalised with."""

    vit: VisionTransformer
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def build_start(recipe: Recipe, backbone: str | None) -> Start:
    """Build a random model, by torch's own generator, or load the backbone to go on from.

    Raises
    ------
    BackboneError
        If the backbone cannot be loaded, is not a plain vision transformer of timm's with a CLS token, has patches
        that do not fit the views, or tokens too short for what the objective teaches.
    """
    if backbone is None:
        scratch: Any = timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True,
            patch_size=recipe.patch_size, embed_dim=recipe.dim, depth=recipe.depth,
            num_heads=recipe.dim // 64, img_size=recipe.image_size,
        )  # fmt: skip
        # Smooth from the start: noise in them would be averaged away in small views and come back in large images.
        initialize_positional_embedding(scratch.pos_embed, "sincos", scratch.num_prefix_tokens)
        return Start(scratch, IMAGENET_MEAN, IMAGENET_STD)
    loaded = load_backbone(backbone)
    # Its relatives (distilled, EVA, with relative positions) make their tokens in other ways.
    if type(loaded.model) is not VisionTransformer or loaded.model.cls_token is None or loaded.model.pos_embed is None:
        raise BackboneError(
            f"pretrain cannot go on from {loaded.name}: it takes plain ViTs with a CLS token; leave it out"
        )
    for size in (recipe.image_size, recipe.global_size, recipe.local_size):
        loaded.grid(size, size)
    if recipe.patch_objective == "texture" and loaded.dim <= TAUGHT:
        raise BackboneError(
            f"{loaded.name} has tokens of {loaded.dim}: pretrain.patch_objective=texture needs more than {TAUGHT}"
        )
    vit = loaded.model.train().requires_grad_()
    vit.reset_classifier(0)
    vit.fc_norm.requires_grad_(requires_grad=False)  # of a classifier too; the loss does not reach it
    return Start(vit, loaded.mean, loaded.std)


def to_bytes(vit: nn.Module) -> bytes:
    """Write the weights as a safetensors file in float16, as ``--backbone FILE`` takes it."""
    state = {name: tensor.detach().half().cpu().contiguous() for name, tensor in vit.state_dict().items()}
    return safetensors.torch.save(state)


def config_json(recipe: Recipe, start: Start) -> bytes:
    """Write the JSON beside that file: the architecture in timm's words, and how pixels were normalised."""
    blocks: Any = start.vit.blocks
    architecture = infer_vit(dict(start.vit.state_dict()), "the start", {"num_heads": blocks[0].attn.num_heads})
    arguments = {"name": architecture.name, **architecture.arguments}
    config = {"architecture": arguments, "mean": start.mean, "std": start.std, "input_size": recipe.image_size}
    return json.dumps(config, indent=1).encode()
