"""What a part of a patch's token shall point to: the patch's texture and place, at unit deviation."""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.core.pretrain.texture import COMPONENTS, texture

#: What deviates less is left as it is: in grey images two colours are constant but for rounding.
LEAST_DEVIATION = 1e-3

#: Weights of a patch's column and row. Images are mirrored in training, so the column says less.
PLACE = (1.0, 2.0)

#: Coordinates of a token, its first, that texture and place are taught in.
TAUGHT = COMPONENTS + len(PLACE)

#: Share of a token's squared length that these shall have; the others are left to what is learned without formulas.
SHARE = 0.5


class TextureTarget(nn.Module):
    """Turns images into unit vectors whose cosines are those of texture and place.

    Components are scaled to mean 0 and deviation 1 over all images seen so far in training mode, by all workers:
    buffers, which travel with the training's state.

    Parameters
    ----------
    patch_size : int
        Side of a patch in pixels.
    """

    count: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(COMPONENTS, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(COMPONENTS, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Describe the patches; in training mode, count them among those that the scale is taken from.

        Parameters
        ----------
        images : Tensor
            This worker's pixels in 0..1, shape [B, 3, S, S].

        Returns
        -------
        Tensor
            float32, shape [B, g², TAUGHT], of length 1.
        """
        found = texture(images, self.patch_size)
        if self.training:
            self._count(found.flatten(0, 1).double())
        mean = self.total / self.count
        deviation = (self.squares / self.count - mean.square()).clamp(min=0).sqrt()
        scaled = (found - mean.float()) / deviation.float().clamp(min=LEAST_DEVIATION)
        whole = torch.cat([scaled, self._place(images).expand(len(images), -1, -1)], dim=-1)
        return functional.normalize(whole, dim=-1)

    def _count(self, rows: Tensor) -> None:
        sums = torch.cat([rows.new_full((1,), len(rows)), rows.sum(0), rows.square().sum(0)])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self.count += sums[0]
        self.total += sums[1 : 1 + COMPONENTS]
        self.squares += sums[1 + COMPONENTS :]

    def _place(self, images: Tensor) -> Tensor:
        """Give columns and rows at unit deviation, times their weights, shape [g², 2]."""
        sides = [side // self.patch_size for side in (images.shape[3], images.shape[2])]
        across, down = (
            (torch.arange(side, device=images.device) - (side - 1) / 2) / max(((side**2 - 1) / 12) ** 0.5, 1e-6)
            for side in sides
        )
        columns, rows = torch.meshgrid(across * PLACE[0], down * PLACE[1], indexing="xy")
        return torch.stack([columns, rows], dim=-1).flatten(0, 1)


def texture_distance(tokens: Tensor, targets: Tensor) -> Tensor:
    """Give how far tokens are from what they are taught.

    A token's length does not matter: with the token at length 1 and u its first coordinates, the distance is
    |u / √SHARE - target|² / 2, which is 1 less the cosine where u has its share of the squared length.

    Parameters
    ----------
    tokens : Tensor
        Shape [B, n, dim], dim above :data:`TAUGHT`.
    targets : Tensor
        Shape [B, n, TAUGHT], of length 1.

    Returns
    -------
    Tensor
        Scalar, the mean over all.
    """
    taught = functional.normalize(tokens.float(), dim=-1)[..., :TAUGHT] / SHARE**0.5
    distance: Tensor = (taught - targets).square().sum(-1).mean() / 2
    return distance
