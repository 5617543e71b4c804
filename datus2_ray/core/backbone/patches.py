"""What describes a patch: vectors of one block or a mean over several, of the image, its mirror image, or windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import Backbone
from datus2_ray.errors import BackboneError


def extract_patches(
    backbone: Backbone,
    pixels: Tensor,
    means: Sequence[tuple[Tap, ...]],
    *,
    mirrored: bool = False,
    tile: int | None = None,
    on_window: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """Compute vectors of the patches of a batch, several kinds in one pass.

    Parameters
    ----------
    pixels : Tensor
        uint8 RGB, shape (B, H, W, 3).
    means : sequence of tuple of Tap
        Each kind of vector, as the taps whose mean it is.
    mirrored : bool
        Whether a patch gets the mean over the image and its mirror image, at twice the cost.
    tile : int, optional
        As for :func:`extract_tiled`, as is `on_window`.

    Returns
    -------
    list of Tensor
        For each of `means`: float32, shape (B, N, dim), patches in raster order.
    """
    taps = list(dict.fromkeys(tap for mean in means for tap in mean))
    outputs = extract_tiled(backbone, pixels, taps, tile, on_window)
    vectors = [_mean(outputs, mean) for mean in means]
    if mirrored:
        flipped = extract_tiled(backbone, pixels.flip(2), taps, tile, on_window)
        grid = backbone.grid(pixels.shape[1], pixels.shape[2])
        flipped_means = (_flip(_mean(flipped, mean), grid) for mean in means)
        vectors = [(plain + mirror) / 2 for plain, mirror in zip(vectors, flipped_means, strict=True)]
    return vectors


def extract_tiled(
    backbone: Backbone,
    pixels: Tensor,
    taps: Sequence[Tap],
    tile: int | None,
    on_window: Callable[[], None] = lambda: None,
) -> dict[Tap, Tensor]:
    """Compute the vectors of a batch's patches window by window; a patch gets the mean over the windows that show it.

    So an image larger than the backbone was trained on is seen through overlapping windows of that size.

    Parameters
    ----------
    pixels : Tensor
        uint8 RGB, shape (B, H, W, 3).
    tile : int or None
        Side of the windows in pixels, a multiple of the patch size; None, or as large as the images: no windows.
    on_window : callable
        Called after every window.

    Returns
    -------
    dict of Tap to Tensor
        float32, shape (B, N, dim), patches in raster order, as from :meth:`Backbone.extract`.

    Raises
    ------
    BackboneError
        If `tile` or a side of the images is no multiple of the patch size, or a CLS token is asked for, which every
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
    counts = torch.zeros(rows, columns, 1, device=backbone.device)
    for top in window_starts(height, tile, side):
        for left in window_starts(width, tile, side):
            window = pixels[:, top : top + tile, left : left + tile]
            grid = backbone.grid(*window.shape[1:3])
            cells = slice(top // side, top // side + grid[0]), slice(left // side, left // side + grid[1])
            counts[cells] += 1
            for tap, vectors in backbone.extract(window, taps).items():
                sums[tap][:, *cells] += vectors.reshape(len(pixels), *grid, -1)
            on_window()
    return {tap: (total / counts).flatten(1, 2) for tap, total in sums.items()}


def check_tile(patch: int, tile: int | None) -> None:
    """Raise a BackboneError if windows of this side are no multiple of the patch size; both in pixels."""
    if tile is not None and tile % patch:
        nearest = max(patch, round(tile / patch) * patch)
        raise BackboneError(f"windows of {tile} pixels do not fit the patch of {patch}; give discover.tile={nearest}")


def window_starts(length: int, tile: int, patch: int) -> list[int]:
    """Return where windows begin along one side, all in pixels: neighbours share half or more, the last ends with it.

    The starts are rising multiples of `patch`, evenly spaced to within a patch.
    """
    span = (length - tile) // patch
    if span <= 0:
        return [0]
    max_step = max(1, tile // patch // 2)
    steps = -(-span // max_step)
    return [patch * (span * step // steps) for step in range(steps + 1)]


def _mean(vectors: dict[Tap, Tensor], taps: tuple[Tap, ...]) -> Tensor:
    return vectors[taps[0]] if len(taps) == 1 else torch.stack([vectors[tap] for tap in taps]).mean(dim=0)


def _flip(vectors: Tensor, grid: tuple[int, int]) -> Tensor:
    return vectors.reshape(len(vectors), *grid, -1).flip(2).reshape(vectors.shape)
