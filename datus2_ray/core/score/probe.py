"""A linear probe: a layer on tokens that learns the ground truth, as the ceiling of what clusters can be named."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from datus2_ray.core.images.labels import Labels, upsample_nearest
from datus2_ray.core.refine.em import Recipe
from datus2_ray.core.refine.token_groups import Group

#: Cross entropy against the class of every patch.
RECIPE = Recipe(rounds=1, steps=1000, exponent=0.0)


def patch_classes(truth: Labels, height: int, width: int, classes: int) -> np.ndarray:
    """Return the most frequent class of the pixels of every patch, of equals the lowest; -1 where none is scored.

    Parameters
    ----------
    truth : uint8 or uint16 [H, W]
        Class ids; values outside [0, classes) are ignored.
    height, width : int
        Patches of the image.

    Returns
    -------
    ndarray
        int64, shape (height · width,), patches in raster order.
    """
    patches: Any = np.arange(height * width).reshape(height, width)
    of_pixels = upsample_nearest(patches, *truth.shape)
    scored = truth < classes
    cells = of_pixels[scored] * classes + truth[scored].astype(np.int64)
    counts = np.bincount(cells, minlength=patches.size * classes).reshape(-1, classes)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def labelled_group(tokens: np.ndarray, classes: np.ndarray, device: torch.device) -> Group:
    """Return the patches that have a class as what a layer is fitted to: every patch is a segment of its own.

    Parameters
    ----------
    tokens : ndarray
        float16, shape (n, dim).
    classes : ndarray
        int64, shape (n,); -1 for none.
    """
    kept = classes >= 0
    labels = torch.from_numpy(classes[kept]).to(device)
    return Group(torch.from_numpy(tokens[kept]).to(device), torch.ones_like(labels), labels)
