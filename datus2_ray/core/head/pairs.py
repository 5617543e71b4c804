"""Pairs of images: which are alike, and what every step of the training sees of which."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

#: Images whose nearest ones are sought at a time.
BLOCK = 1024


def nearest_images(means: Tensor, most: int) -> Tensor:
    """Return the numbers of the images most like each, by the cosine of their mean tokens: int64 [N, min(most, N - 1)].

    Parameters
    ----------
    means : Tensor
        Mean token of every image, [N, dim].
    """
    unit = functional.normalize(means, dim=1)
    found = []
    for start in range(0, len(unit), BLOCK):
        cosines = unit[start : start + BLOCK] @ unit.T
        rows = torch.arange(len(cosines), device=unit.device)
        cosines[rows, start + rows] = -torch.inf
        found.append(cosines.argsort(dim=1, descending=True, stable=True)[:, : min(most, len(unit) - 1)])
    return torch.cat(found)


class Draws:
    """What every step sees, from a seed: the same in every process.

    Parameters
    ----------
    nearest : ndarray
        Numbers of the images most like each, shape (N, most).
    sizes : ndarray
        Patches of every image, shape (N,).
    images, points : int
        Images per step, and points of each.
    """

    def __init__(self, nearest: np.ndarray, sizes: np.ndarray, images: int, points: int, seed: int) -> None:
        self._nearest = nearest
        self._sizes = sizes
        self._images = images
        self._points = points
        self._rng = np.random.default_rng(seed)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images, (3, images): some, one like each, another; and points of each, (3, images, points)."""
        rng, many, count = self._rng, self._images, len(self._sizes)
        chosen = rng.choice(count, many, replace=count < many)
        alike = self._nearest[chosen, rng.integers(self._nearest.shape[1], size=many)]
        other = (chosen + rng.integers(1, count, size=many)) % count
        images = np.stack([chosen, alike, other])
        points = (rng.random((*images.shape, self._points)) * self._sizes[images][..., None]).astype(np.int64)
        return images, points
