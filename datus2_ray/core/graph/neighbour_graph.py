"""Each patch's nearest neighbours, with cosine weights: found on the device, carried as a short list."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Variance of colours, summed over RGB, up to which nobody sees them differ: four grey levels a channel.
UNSEEN = 3 * 4.0**2


def nearest_neighbours(
    features: Tensor, count: int, *, threshold: float = 0.0, penalties: Tensor | None = None
) -> Tensor:
    """List every patch's nearest neighbours by the cosine of their centred features.

    Parameters
    ----------
    features : Tensor
        Patch features of one image, float, shape (N, D). Their mean is taken off first: what all patches share tells
        none from another.
    count : int
        Neighbours a patch; fewer where the image has no more patches.
    threshold : float
        Weights up to it are no links.
    penalties : Tensor, optional
        What each pair's cosine loses for more than its features, as :func:`pair_penalties` gives it, shape (N, N).

    Returns
    -------
    Tensor
        uint8, shape (N, min(count, N - 1), 8), the bytes of
        :data:`~datus2_ray.core.graph.neighbour_links.LINK`, on the device of `features`; 784 patches with
        16 neighbours take 100 KB. Weights are the cosines less the penalties, and 0 where these do not exceed the
        threshold.
    """
    features = features.float()
    unit = functional.normalize(features - features.mean(dim=0), dim=1)
    cosines = unit @ unit.T
    if penalties is not None:
        cosines -= penalties
    cosines.fill_diagonal_(-torch.inf)
    weights, patches = cosines.topk(min(count, len(features) - 1), dim=1)
    # Both as the four bytes that they are: one tensor leaves the device.
    weights = torch.where(weights > threshold, weights, 0.0)
    numbers = torch.stack([patches.to(torch.int32), weights.view(torch.int32)], dim=2)
    return numbers.view(torch.uint8)


def pair_penalties(pixels: Tensor, grid: tuple[int, int], place: float, colour: float) -> Tensor:
    """Compute how much less alike two patches count for lying apart, and for looking unlike.

    Parameters
    ----------
    pixels : Tensor
        One image, uint8 RGB, shape (H, W, 3).
    grid : tuple of int
        Rows h and columns w of its patches.
    place, colour : float
        What a pair of the image loses on average for the distance between its centres and for that between its mean
        colours; a pair twice as far apart loses four times as much. Of an image of nearly one colour it loses less.

    Returns
    -------
    Tensor
        float32, symmetric, shape (h · w, h · w), on the device of `pixels`.
    """
    height, width = grid
    rows, columns = (torch.arange(side, dtype=torch.float32, device=pixels.device) for side in grid)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    patches = pixels.reshape(height, pixels.shape[0] // height, width, pixels.shape[1] // width, 3)
    colours = patches.float().mean(dim=(1, 3)).flatten(0, 1)
    total = torch.zeros(height * width, height * width, device=pixels.device)
    for values, weight, least in ((places, place, 1e-6), (colours, colour, UNSEEN)):
        if weight:
            # Half the mean squared distance between two of them is their variance, summed over the coordinates.
            spread = values.var(dim=0, correction=0).sum().clamp(min=least)
            values = values * (weight / (2 * spread)).sqrt()
            # Not by a matrix product: the distance of equal colours is then 0, and both triangles are the same.
            total += torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist").square_()
    return total
