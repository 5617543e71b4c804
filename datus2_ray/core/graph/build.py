"""Build the affinity graph over the patches of one image, on the device of its features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Rows of the affinity per matrix product; each product starts at the diagonal, which saves nearly half of the work.
STRIP = 196

#: Value of each bit in a byte, first bit highest, as ``numpy.unpackbits`` reads it.
_BIT_VALUES = (128, 64, 32, 16, 8, 4, 2, 1)

#: Smallest variance of the mean colours that is used as a scale, summed over RGB: a standard deviation of four grey
#: levels per channel, which is hardly visible.
MIN_COLOUR_VARIANCE = 3 * 4.0**2


def binary_affinity(features: Tensor) -> Tensor:
    """Connect every two patches whose features have a positive dot product.

    The graph of the paper (DatUS², step 3): ``A = K Kᵀ`` of the unnormalised features, an edge where ``A > 0``; dense,
    unweighted, with self-loops, without a spatial term.

    `features` are float, shape (N, D); the adjacency is symmetric, bool, shape (N, N).

    Notes
    -----
    A matrix product may round ``A_ij`` and ``A_ji`` differently. The upper triangle decides for both, so the graph is
    undirected by construction; scikit-network would take an asymmetric matrix for a directed graph.
    """
    features = features.float()
    nodes = len(features)
    adjacency = torch.zeros((nodes, nodes), dtype=torch.bool, device=features.device)
    for start in range(0, nodes, STRIP):
        adjacency[start : start + STRIP, start:] = features[start : start + STRIP] @ features[start:].T > 0
    upper = torch.triu(adjacency)
    return upper | upper.T


def pack(adjacency: Tensor) -> Tensor:
    """Pack the rows of a bool adjacency (N, N) into bits, the layout of ``numpy.packbits(axis=1)``.

    Returns uint8, shape (N, ceil(N / 8)): 77 KB for 784 patches.
    """
    if adjacency.device.type == "cpu":
        return torch.from_numpy(np.packbits(adjacency.numpy(), axis=1))
    return pack_on_device(adjacency)


def pack_on_device(adjacency: Tensor) -> Tensor:
    """Compute :func:`pack` in torch, so that only the bits leave the device."""
    n = adjacency.shape[1]
    padded = torch.nn.functional.pad(adjacency.to(torch.uint8), (0, -n % 8))
    values = torch.tensor(_BIT_VALUES, dtype=torch.uint8, device=adjacency.device)
    return (padded.reshape(adjacency.shape[0], -1, 8) * values).sum(dim=2, dtype=torch.uint8)


def nearest_neighbours(
    features: Tensor, count: int, *, threshold: float = 0.0, penalties: Tensor | None = None
) -> Tensor:
    """Find the nearest neighbours of every patch by the cosine of their centred features.

    Parameters
    ----------
    features : Tensor
        Float, shape (N, D). Their mean is subtracted first: what all patches share distinguishes none of them.
    count : int
        Neighbours per patch, at most N - 1.
    threshold : float
        Cosines up to this are no links.
    penalties : Tensor, optional
        Subtracted from the cosines, shape (N, N); from :func:`pair_penalties`.

    Returns
    -------
    Tensor
        uint8, shape (N, min(count, N - 1), 8): the bytes of :data:`~datus2_ray.core.graph.links.LINK`. The weight is
        the cosine minus the penalty, or 0 if this is not above the threshold.
    """
    features = features.float()
    unit = functional.normalize(features - features.mean(dim=0), dim=1)
    cosines = unit @ unit.T
    if penalties is not None:
        cosines -= penalties
    cosines.fill_diagonal_(-torch.inf)
    weights, patches = cosines.topk(min(count, len(features) - 1), dim=1)
    weights = torch.where(weights > threshold, weights, 0.0)
    # Both as their four bytes, so that a single tensor leaves the device.
    links = torch.stack([patches.to(torch.int32), weights.view(torch.int32)], dim=2)
    return links.view(torch.uint8)


def pair_penalties(pixels: Tensor, grid: tuple[int, int], place: float, colour: float) -> Tensor:
    """Compute what to subtract from the cosine of two patches for their distance and their difference in colour.

    Parameters
    ----------
    pixels : Tensor
        One image, uint8 RGB, shape (H, W, 3).
    grid : tuple of int
        Rows h and columns w of its patches.
    place, colour : float
        Mean penalty over all pairs for the squared distance of their centres, and for that of their mean colours. An
        image of nearly one colour has a smaller mean colour penalty.

    Returns
    -------
    Tensor
        float32, symmetric, shape (h · w, h · w).
    """
    height, width = grid
    rows, columns = (torch.arange(side, dtype=torch.float32, device=pixels.device) for side in grid)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    patches = pixels.reshape(height, pixels.shape[0] // height, width, pixels.shape[1] // width, 3)
    colours = patches.float().mean(dim=(1, 3)).flatten(0, 1)
    total = torch.zeros(height * width, height * width, device=pixels.device)
    for values, weight, min_variance in ((places, place, 1e-6), (colours, colour, MIN_COLOUR_VARIANCE)):
        if weight:
            # The variance, summed over coordinates, is half the mean squared distance of two patches.
            variance = values.var(dim=0, correction=0).sum().clamp(min=min_variance)
            values = values * (weight / (2 * variance)).sqrt()
            # Not by a matrix product: the distance of equal colours is then 0, and both triangles are the same.
            total += torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist").square_()
    return total
