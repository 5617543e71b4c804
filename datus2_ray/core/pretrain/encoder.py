"""The network that a self-supervised training trains: a ViT, a head for its CLS token, often one for its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.modules.masked_vision_transformer_timm import MaskedVisionTransformerTIMM
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.core.pretrain.texture import TAUGHT


@dataclass(frozen=True)
class Whole:
    """Whole images of which the student is shown some patches.

    Parameters
    ----------
    pixels : Tensor
        Normalised, shape [B, 3, S, S].
    shown, hidden : Tensor
        From :func:`~datus2_ray.core.pretrain.alignment.draw_shown`.
    """

    pixels: Tensor
    shown: Tensor
    hidden: Tensor


class Encoder(nn.Module):
    """A ViT with heads that give prototypes: of the CLS token, and of patches if the objective wants any."""

    def __init__(self, vit: VisionTransformer, recipe: Recipe) -> None:
        super().__init__()
        self.vit = MaskedVisionTransformerTIMM(vit, weight_initialization="skip", pos_embed_initialization="skip")
        sizes = (recipe.hidden_dim, recipe.bottleneck_dim, recipe.prototypes)
        self.cls_head = DINOProjectionHead(vit.embed_dim, *sizes)
        self._taught = TAUGHT if recipe.patch_objective == "texture" else 0
        self.patch_head = None
        if recipe.patch_objective != "none":
            self.patch_head = DINOProjectionHead(vit.embed_dim - self._taught, *sizes)
        self.vit.mask_token.requires_grad_(recipe.patch_objective in ("masked", "texture"))
        self.prefix = vit.num_prefix_tokens

    def forward(
        self, views: Sequence[Tensor], masks: Tensor | None, wanted: Sequence[Tensor], whole: Whole | None
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Encode groups of views of one size each, and whole images of which some patches are shown.

        Parameters
        ----------
        views : sequence of Tensor
            Normalised pixels, shape [V, 3, size, size].
        masks : Tensor, optional
            bool, shape [V, g, g], of the first group: patches to hide.
        wanted : sequence of Tensor
            For as many of the groups: bool [V, g, g], the patches whose prototypes are wanted.

        Returns
        -------
        cls : Tensor
            Logits of all views, shape [sum of V, prototypes].
        patches : list of Tensor
            Logits of the wanted patches of each group.
        shown : Tensor or None
            Tokens of the shown patches of whole images, shape [B, n, dim].
        """
        tokens = [self.encode(group, masks if number == 0 else None) for number, group in enumerate(views)]
        cls = self.cls_head(torch.cat([group[:, 0] for group in tokens]))
        patches = [
            self.patch_logits(group[:, self.prefix :][chosen.flatten(1)])
            for group, chosen in zip(tokens, wanted, strict=False)
        ]
        return cls, patches, None if whole is None else self._shown(whole)

    def free(self, tokens: Tensor) -> Tensor:
        """Return the coordinates of tokens that no formula teaches."""
        return tokens[..., self._taught :]

    def patch_logits(self, tokens: Tensor) -> Tensor:
        """Return the prototypes' logits of patch tokens [n, dim], from their free coordinates."""
        logits: Tensor = cast(Any, self.patch_head)(self.free(tokens))
        return logits

    def encode(self, pixels: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return all tokens after the final norm, shape [V, prefix + g², dim]."""
        if masks is not None:
            masks = nn.functional.pad(masks.flatten(1), (self.prefix, 0))
        tokens: Tensor = self.vit.encode(pixels, mask=masks)
        return tokens

    def _shown(self, whole: Whole) -> Tensor:
        count, side = len(whole.pixels), whole.pixels.shape[-1] // cast(Any, self.vit.vit.patch_embed).patch_size[0]
        prefix = torch.arange(self.prefix, device=whole.shown.device).expand(count, -1)
        keep = torch.cat([prefix, whole.shown + self.prefix], dim=1)
        hidden = torch.zeros(count, self.prefix + side**2, dtype=torch.bool, device=keep.device)
        hidden.scatter_(1, keep[:, self.prefix :], whole.hidden)
        tokens = self.vit.preprocess(whole.pixels, mask=hidden)
        # Whole rows are chosen: the library's way, element by element, is slow on a GPU where it must be deterministic.
        first = torch.arange(count, device=keep.device)[:, None] * tokens.shape[1]
        kept = tokens.flatten(0, 1).index_select(0, (first + keep).flatten()).view(count, -1, tokens.shape[2])
        vit: Any = self.vit.vit
        encoded: Tensor = vit.norm(vit.blocks(vit.norm_pre(kept)))
        return encoded[:, self.prefix :]


def attend_by_plain_products(*encoders: Encoder) -> None:
    """Turn torch's fused attention off: in bfloat16 on a CPU its backward pass takes longer than all other products.

    With views of 81 patches a step took 0.61 s with it and 0.39 s without, on two cores that multiply bfloat16.
    """
    for encoder in encoders:
        blocks: Any = encoder.vit.vit.blocks
        for block in blocks:
            block.attn.fused_attn = False
