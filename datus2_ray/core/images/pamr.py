"""Pixel-adaptive mask refinement: the borders of a mask move to where the picture has its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Pixels between a pixel and its eight neighbours, one ring each.
DILATIONS = (1, 2, 4, 8, 12, 24)

#: How often the mask is averaged over those neighbours.
ITERATIONS = 10

#: Share of the local standard deviation by which a difference is measured: the smaller, the less passes an edge.
SHARPNESS = 0.1

_RING = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


def sharpen(
    image: Tensor, probabilities: Tensor, dilations: tuple[int, ...] = DILATIONS, iterations: int = ITERATIONS
) -> Tensor:
    """Average the probabilities of every pixel over its neighbours, again and again, the more the more alike they look.

    Parameters
    ----------
    image : Tensor
        uint8 RGB, shape (3, H, W).
    probabilities : Tensor
        float32, shape (K, H, W); of each pixel's classes, with sum 1.
    dilations : tuple of int
        Pixels between a pixel and its neighbours, a ring of eight each; beyond the border the border is repeated.
    iterations : int
        Number of averages.

    Returns
    -------
    Tensor
        float32, shape (K, H, W), with sum 1 again.

    References
    ----------
    Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, arXiv 2005.08104,
    section 3.3.
    """
    weights = affinities(image, dilations)
    for _ in range(iterations):
        average = torch.zeros_like(probabilities)
        # One neighbour at a time: all of them at once would take 48 times the memory.
        for weight, neighbour in zip(weights, _neighbours(probabilities, dilations), strict=True):
            average.addcmul_(weight, neighbour)
        probabilities = average
    return probabilities


def affinities(image: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """Weigh the neighbours of every pixel by how alike they look.

    Parameters
    ----------
    image : Tensor
        uint8 RGB, shape (3, H, W).
    dilations : tuple of int
        As in :func:`sharpen`.

    Returns
    -------
    Tensor
        float32, shape (8 times the dilations, H, W), with sum 1 over the neighbours of a pixel.
    """
    pixels = image.float() / 255
    neighbours = torch.stack(_neighbours(pixels, dilations))
    deviation = neighbours.std(dim=0)
    # Where all neighbours are of one colour none differs: the small number only keeps the division defined.
    differences = (neighbours - pixels).abs() / (SHARPNESS * deviation + 1e-8)
    return (-differences.mean(dim=1)).softmax(dim=0)


def _neighbours(values: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """Give views of a padded copy of (C, H, W) values, shifted to each neighbour."""
    height, width = values.shape[1:]
    margin = max(dilations)
    padded = functional.pad(values[None], (margin, margin, margin, margin), mode="replicate")[0]
    return [
        padded[
            :,
            margin + row * step : margin + row * step + height,
            margin + column * step : margin + column * step + width,
        ]
        for step in dilations
        for row, column in _RING
    ]
