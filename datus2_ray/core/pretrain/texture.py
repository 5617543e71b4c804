"""Colour and texture around every patch of an image, by fixed formulas: what a patch is like before learning."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

#: Directions of the gradient that are told apart; opposite ones are one.
DIRECTIONS = 8

#: Sides of the squares of patches that a patch's description is averaged over, in patches.
WINDOWS = (1, 3, 7)

#: Components of a patch: of every window the mean and the deviation of three colours, and the directions.
COMPONENTS = len(WINDOWS) * (3 + 3 + DIRECTIONS)


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
        Side of a patch in pixels.

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
    directions = torch.stack([torch.where(bins == one, strength, 0.0) for one in range(DIRECTIONS)], dim=1)
    mean, square, histogram = (
        functional.avg_pool2d(values, patch_size) for values in (colours, colours.square(), directions)
    )
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    maps = torch.cat([mean, (deviation + 1e-2).log(), (histogram + 1e-3).log()], dim=1)
    windows = [functional.avg_pool2d(maps, side, 1, side // 2, count_include_pad=False) for side in WINDOWS]
    return torch.cat(windows, dim=1).flatten(2).transpose(1, 2)
