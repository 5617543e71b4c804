"""Sliding tiles: an image larger than the backbone was trained on is seen through overlapping windows of that size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from datus2_ray.core.backbone.vit import Backbone, Tap
from datus2_ray.errors import BackboneError


def extract_tiled(backbone: Backbone, pixels: Tensor, taps: Sequence[Tap], tile: int | None) -> dict[Tap, Tensor]:
    """Compute the vectors of a batch's patches window by window; a patch gets the mean over the windows that show it.

    Parameters
    ----------
    backbone : Backbone
        The model.
    pixels : Tensor
        uint8 RGB, shape (B, H, W, 3).
    taps : sequence of Tap
        What to read of the patches.
    tile : int or None
        Side of the windows in pixels, a multiple of the patch; None, or as large as the images, for one look at the
        whole.

    Returns
    -------
    dict of Tap to Tensor
        float32, shape (B, N, dim), patches in raster order, as :meth:`Backbone.extract` gives them.

    Raises
    ------
    BackboneError
        As :func:`check_tile`, or the images' sides are no multiples of the patch; or a CLS token is wanted, which every
        window has for itself.
    """
    check_tile(backbone.patch_size, tile)
    height, width = pixels.shape[1:3]
    if tile is None or max(height, width) <= tile:
        return backbone.extract(pixels, taps)
    if any(tap.kind == "cls" for tap in taps):
        raise BackboneError("tiles have a CLS token each: there is none of the whole image")
    side = backbone.patch_size
    rows, columns = backbone.grid(height, width)
    sums = {tap: torch.zeros(len(pixels), rows, columns, backbone.dim, device=backbone.device) for tap in taps}
    looks = torch.zeros(rows, columns, 1, device=backbone.device)
    for top in window_starts(height, tile, side):
        for left in window_starts(width, tile, side):
            window = pixels[:, top : top + tile, left : left + tile]
            grid = backbone.grid(*window.shape[1:3])
            here = slice(top // side, top // side + grid[0]), slice(left // side, left // side + grid[1])
            looks[here] += 1
            for tap, vectors in backbone.extract(window, taps).items():
                sums[tap][:, *here] += vectors.reshape(len(pixels), *grid, -1)
    return {tap: (total / looks).flatten(1, 2) for tap, total in sums.items()}


def check_tile(patch: int, tile: int | None) -> None:
    """See that windows of this side can be cut into patches; both in pixels.

    Raises
    ------
    BackboneError
        They cannot.
    """
    if tile is not None and tile % patch:
        nearest = max(patch, round(tile / patch) * patch)
        raise BackboneError(f"windows of {tile} pixels do not fit the patch of {patch}; give discover.tile={nearest}")


def window_starts(length: int, tile: int, patch: int) -> list[int]:
    """Give where windows begin along one side, so that they cover it and neighbours share half or more.

    Parameters
    ----------
    length, tile, patch : int
        Sides of the image, the window and the patch, in pixels.

    Returns
    -------
    list of int
        Rising multiples of `patch`, evenly apart to a patch; the last window ends with the image.
    """
    rest = (length - tile) // patch
    if rest <= 0:
        return [0]
    most = max(1, tile // patch // 2)
    steps = -(-rest // most)
    return [patch * (rest * step // steps) for step in range(steps + 1)]
