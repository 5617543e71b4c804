"""Which patches of two views show the same place, and which patches of a view are hidden from the student."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datus2_ray.core.pretrain.crops import Views

#: Smallest and largest share of the patches that is hidden from a view.
HIDDEN = (0.1, 0.5)

#: Share of a whole image's patches that the student is shown, and share of those whose content is hidden from it.
SHOWN = 0.4
HIDDEN_OF_SHOWN = 0.4


def align_patches(tokens: Tensor, source: Views, target: Views, grid: int) -> tuple[Tensor, Tensor]:
    """Read the patch vectors of one view at the places that the patches of another view show.

    Parameters
    ----------
    tokens : Tensor
        Patch vectors of the source views, shape [B, g², D], in raster order.
    grid : int
        Patches per side of the target views.

    Returns
    -------
    vectors : Tensor
        Shape [B, grid², D], interpolated bilinearly between the four nearest patches.
    seen : Tensor
        bool, shape [B, grid, grid]: whether the patch's centre lies in the source view. The rest of ``vectors`` means
        nothing.
    """
    side = round(tokens.shape[1] ** 0.5)
    steps = (torch.arange(grid, device=tokens.device, dtype=torch.float32) + 0.5) / grid
    centres = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).expand(len(tokens), -1, -1, -1)
    places = _to_view(_to_image(centres, target), source)
    seen = ((places >= 0) & (places <= 1)).all(-1)
    maps = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    read = functional.grid_sample(maps, (2 * places - 1).to(maps.dtype), padding_mode="border", align_corners=False)
    return read.flatten(2).transpose(1, 2), seen


def draw_masks(batch: int, grid: int, rng: np.random.Generator) -> Tensor:
    """Hide a rectangle of patches from every second view (iBOT, Zhou et al., arXiv 2111.07832, section 4.1).

    Returns
    -------
    Tensor
        bool, shape [batch, grid, grid], true where hidden.
    """
    area = rng.uniform(*HIDDEN, batch) * grid**2
    aspect = np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3), batch))
    height = np.clip(np.rint(np.sqrt(area * aspect)), 1, grid - 1)
    width = np.clip(np.rint(area / height), 1, grid - 1)
    top, left = np.floor(rng.random(batch) * (grid - height + 1)), np.floor(rng.random(batch) * (grid - width + 1))
    rows, columns = np.arange(grid)[None, :, None], np.arange(grid)[None, None, :]
    top, left, height, width = (values[:, None, None] for values in (top, left, height, width))
    masks = (rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width)
    masks[rng.permutation(batch)[: batch // 2]] = False
    return torch.from_numpy(masks)


def draw_shown(batch: int, grid: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Choose patches of whole images, squares of 2 x 2 mostly, and hide the content of some of them.

    To leave most patches away makes a step less than half as expensive (He et al., arXiv 2111.06377); to encode the
    hidden ones, with their place alone, follows BEiT (Bao et al., arXiv 2106.08254).

    Returns
    -------
    shown : Tensor
        int64, shape [batch, n]: places in raster order of the patches that are encoded.
    hidden : Tensor
        bool, shape [batch, n], true where the student sees only the place.
    """
    side = -(-grid // 2)
    squares = rng.random((batch, side, side)).repeat(2, axis=1).repeat(2, axis=2)[:, :grid, :grid]
    count = max(1, round(SHOWN * grid**2))
    shown = squares.reshape(batch, -1).argsort(axis=1, kind="stable")[:, :count]
    hidden = torch.zeros(batch, count, dtype=torch.bool)
    hidden[:, : round(HIDDEN_OF_SHOWN * count)] = True
    return torch.from_numpy(shown), hidden


def _to_image(places: Tensor, views: Views) -> Tensor:
    """Turn places in shares of a view's sides into shares of its image's sides."""
    low, high = _corners(views, places.device)
    return low + _mirror(places, views) * (high - low)


def _to_view(places: Tensor, views: Views) -> Tensor:
    low, high = _corners(views, places.device)
    return _mirror((places - low) / (high - low), views)


def _corners(views: Views, device: torch.device) -> tuple[Tensor, Tensor]:
    boxes = views.boxes.to(device)[:, None, None]
    return boxes[..., :2], boxes[..., 2:]


def _mirror(places: Tensor, views: Views) -> Tensor:
    mirrored = views.mirrored.to(places.device)[:, None, None]
    return torch.stack([torch.where(mirrored, 1 - places[..., 0], places[..., 0]), places[..., 1]], dim=-1)
