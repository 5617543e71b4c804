"""What describes a patch: vectors of one block or the mean over several; of an image, or of its mirror image too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from datus2_ray.core.backbone.tiles import extract_tiled
from datus2_ray.core.backbone.vit import Backbone, Tap


def extract_patches(
    backbone: Backbone,
    pixels: Tensor,
    means: Sequence[tuple[Tap, ...]],
    also: Sequence[Tap] = (),
    *,
    mirrored: bool = False,
    tile: int | None = None,
) -> tuple[list[Tensor], dict[Tap, Tensor]]:
    """Compute vectors of the patches of a batch, several kinds in one pass.

    Parameters
    ----------
    backbone : Backbone
        The model.
    pixels : Tensor
        uint8 RGB, shape (B, H, W, 3).
    means : sequence of tuple of Tap
        Where each kind is read: the mean over its taps counts.
    also : sequence of Tap
        What else to read, in the pass over the images as they are alone.
    mirrored : bool
        Whether the images are also seen from left to right, at twice the cost: a patch gets the mean of both views.
    tile : int, optional
        Side of the windows that larger images are seen through, in pixels; default they are seen whole.

    Returns
    -------
    list of Tensor
        For each of `means`: float32, shape (B, N, dim), patches in raster order.
    dict of Tap to Tensor
        What each of `also` gave.
    """
    taps = list(dict.fromkeys(tap for mean in means for tap in mean))
    found = extract_tiled(backbone, pixels, list(dict.fromkeys([*taps, *also])), tile)
    vectors = [_mean(found, mean) for mean in means]
    if mirrored:
        seen = extract_tiled(backbone, pixels.flip(2), taps, tile)
        grid = backbone.grid(pixels.shape[1], pixels.shape[2])
        turned = (_turn(_mean(seen, mean), grid) for mean in means)
        vectors = [(here + there) / 2 for here, there in zip(vectors, turned, strict=True)]
    return vectors, {tap: found[tap] for tap in also}


def _mean(found: dict[Tap, Tensor], taps: tuple[Tap, ...]) -> Tensor:
    return found[taps[0]] if len(taps) == 1 else torch.stack([found[tap] for tap in taps]).mean(dim=0)


def _turn(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    return vectors.reshape(len(vectors), *grid, -1).flip(2).reshape(vectors.shape)
