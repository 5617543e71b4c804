"""Each patch's nearest neighbours, with cosine weights: found on the device, carried as a short list."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def nearest_neighbours(features: Tensor, count: int) -> Tensor:
    """List every patch's nearest neighbours by the cosine of their centred features.

    Parameters
    ----------
    features : Tensor
        Patch features of one image, float, shape (N, D). Their mean is taken off first: what all patches share tells
        none from another.
    count : int
        Neighbours a patch; fewer where the image has no more patches.

    Returns
    -------
    Tensor
        uint8, shape (N, min(count, N - 1), 8), the bytes of
        :data:`~datus2_ray.core.neighbour_links.LINK`, on the device of `features`; 784 patches with
        16 neighbours take 100 KB. Weights are the cosines, and 0 where these are negative.
    """
    features = features.float()
    unit = functional.normalize(features - features.mean(dim=0), dim=1)
    cosines = unit @ unit.T
    cosines.fill_diagonal_(-torch.inf)
    weights, patches = cosines.topk(min(count, len(features) - 1), dim=1)
    # Both as the four bytes that they are: one tensor leaves the device.
    numbers = torch.stack([patches.to(torch.int32), weights.clamp(min=0.0).view(torch.int32)], dim=2)
    return numbers.view(torch.uint8)
