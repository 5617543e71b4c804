"""The affinity graph over the patches of one image, made on the device and carried as packed bits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Patches whose rows are computed in one matrix product, from the diagonal on: nearly half of the work is spared.
STRIP = 196

#: Value of each bit in a byte, first bit highest, as ``numpy.unpackbits`` reads it.
_BIT_VALUES = (128, 64, 32, 16, 8, 4, 2, 1)


def binary_affinity(features: Tensor) -> Tensor:
    """Connect every two patches whose features have a positive dot product.

    The paper's graph (DatUS², step 3): ``A = K Kᵀ`` of the unnormalised features, an edge where ``A > 0``; dense,
    unweighted, self-loops kept, no spatial term.

    Parameters
    ----------
    features : Tensor
        Patch features of one image, float, shape (N, D).

    Returns
    -------
    Tensor
        Symmetric adjacency, bool, shape (N, N), on the device of `features`.

    Notes
    -----
    A matrix product may round ``A_ij`` and ``A_ji`` differently. The upper triangle decides for both, so that the graph
    is undirected by construction: scikit-network would silently take an asymmetric one for directed.
    """
    features = features.float()
    nodes = len(features)
    adjacency = torch.zeros((nodes, nodes), dtype=torch.bool, device=features.device)
    for start in range(0, nodes, STRIP):
        adjacency[start : start + STRIP, start:] = features[start : start + STRIP] @ features[start:].T > 0
    upper = torch.triu(adjacency)
    return upper | upper.T


def pack(adjacency: Tensor) -> Tensor:
    """Pack the rows of a boolean adjacency into bits: 784 patches take 77 KB instead of 2.4 MB as float32.

    Parameters
    ----------
    adjacency : Tensor
        Bool, shape (N, N).

    Returns
    -------
    Tensor
        uint8, shape (N, ceil(N / 8)), rows padded with zeros, the layout of ``numpy.packbits(axis=1)``.
    """
    if adjacency.device.type == "cpu":
        return torch.from_numpy(np.packbits(adjacency.numpy(), axis=1))
    return pack_on_device(adjacency)


def pack_on_device(adjacency: Tensor) -> Tensor:
    """Do what :func:`pack` does where numpy cannot reach, so that only the bits leave the device."""
    n = adjacency.shape[1]
    padded = torch.nn.functional.pad(adjacency.to(torch.uint8), (0, -n % 8))
    values = torch.tensor(_BIT_VALUES, dtype=torch.uint8, device=adjacency.device)
    return (padded.reshape(adjacency.shape[0], -1, 8) * values).sum(dim=2, dtype=torch.uint8)
