"""Colour, texture and place of every patch, by fixed formulas: what some coordinates of a patch's token are taught."""

from __future__ import annotations

import math

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional

#: Bins of the gradient's direction; opposite directions are one.
DIRECTIONS = 8

#: Sides of the squares of patches that a patch's description is averaged over, in patches.
WINDOWS = (1, 3, 7)

#: Components of a patch: of every window the mean and the deviation of three colours, and the directions.
COMPONENTS = len(WINDOWS) * (3 + 3 + DIRECTIONS)

#: Lower bound of the deviation that a component is divided by: in grey images two colours are constant up to rounding.
MIN_SCALE = 1e-3

#: Weights of a patch's column and row. Images are mirrored in training, so the column says less.
PLACE = (1.0, 2.0)

#: Number of a token's first coordinates, which are taught texture and place.
TAUGHT = COMPONENTS + len(PLACE)

#: Share of a token's squared length in these; the others are left to what is learned without formulas.
SHARE = 0.5


@torch.no_grad()
def texture(images: Tensor, patch_size: int) -> Tensor:
    """Describe every patch, alone and averaged over windows of patches around it.

    The colours are brightness and two opponent colours (red against green, yellow against blue); the directions are a
    histogram of oriented gradients of the brightness (Dalal and Triggs, CVPR 2005), by eight even bins over half a
    turn, without their normalisation over blocks. A patch's deviations and histogram are taken as logarithms; windows
    average those.

    Parameters
    ----------
    images : Tensor
        Pixels in 0..1, shape [B, 3, H, W].
    patch_size : int
        In pixels.

    Returns
    -------
    Tensor
        float32, shape [B, H / patch_size * W / patch_size, COMPONENTS], in raster order. Windows end at the border.
    """
    red, green, blue = images.float().unbind(1)
    brightness = (red + green + blue) / 3
    colours = torch.stack([brightness, red - green, (red + green) / 2 - blue], dim=1)
    down, right = torch.gradient(brightness, dim=(1, 2))
    # Bins have the axes and diagonals in their middle: bytes make many such gradients, which must not lie on an edge.
    bins = torch.round(torch.atan2(down, right) * (DIRECTIONS / math.pi)).long() % DIRECTIONS
    strength = torch.hypot(down, right)
    # A scatter would be shorter, and where deterministic algorithms are asked for, on a GPU, far slower.
    directions = torch.stack([torch.where(bins == number, strength, 0.0) for number in range(DIRECTIONS)], dim=1)
    mean, square, histogram = (
        functional.avg_pool2d(values, patch_size) for values in (colours, colours.square(), directions)
    )
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    maps = torch.cat([mean, (deviation + 1e-2).log(), (histogram + 1e-3).log()], dim=1)
    windows = [functional.avg_pool2d(maps, side, 1, side // 2, count_include_pad=False) for side in WINDOWS]
    return torch.cat(windows, dim=1).flatten(2).transpose(1, 2)


class TextureTarget(nn.Module):
    """Turns images into unit vectors whose cosines are those of texture and place.

    Components are scaled to mean 0 and deviation 1 over all images seen so far in training mode, by all workers:
    buffers, which are part of the training's state.
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
        components = texture(images, self.patch_size)
        if self.training:
            self._count(components.flatten(0, 1).double())
        mean = self.total / self.count
        deviation = (self.squares / self.count - mean.square()).clamp(min=0).sqrt()
        scaled = (components - mean.float()) / deviation.float().clamp(min=MIN_SCALE)
        vectors = torch.cat([scaled, self._place(images).expand(len(images), -1, -1)], dim=-1)
        return functional.normalize(vectors, dim=-1)

    def _count(self, rows: Tensor) -> None:
        sums = torch.cat([rows.new_full((1,), len(rows)), rows.sum(0), rows.square().sum(0)])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        self.count += sums[0]
        self.total += sums[1 : 1 + COMPONENTS]
        self.squares += sums[1 + COMPONENTS :]

    def _place(self, images: Tensor) -> Tensor:
        """Return columns and rows at unit deviation, times their weights, shape [g², 2]."""
        sides = [side // self.patch_size for side in (images.shape[3], images.shape[2])]
        across, down = (
            (torch.arange(side, device=images.device) - (side - 1) / 2) / max(((side**2 - 1) / 12) ** 0.5, 1e-6)
            for side in sides
        )
        columns, rows = torch.meshgrid(across * PLACE[0], down * PLACE[1], indexing="xy")
        return torch.stack([columns, rows], dim=-1).flatten(0, 1)


def texture_distance(tokens: Tensor, targets: Tensor) -> Tensor:
    """Compute the mean distance of tokens [B, n, dim] from targets [B, n, TAUGHT] of length 1.

    A token's length does not matter: with the token at length 1 and u its first coordinates, the distance is
    |u / √SHARE - target|² / 2, which is 1 minus the cosine if u has its share of the squared length.
    """
    taught = functional.normalize(tokens.float(), dim=-1)[..., :TAUGHT] / SHARE**0.5
    distance: Tensor = (taught - targets).square().sum(-1).mean() / 2
    return distance
