"""Pixel-adaptive mask refinement (PAMR): move the borders of a mask to edges of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: Distance in pixels between a pixel and its eight neighbours, one ring each.
DILATIONS = (1, 2, 4, 8, 12, 24)

ITERATIONS = 10

#: Differences are measured in this share of the local standard deviation; smaller values stop at weaker edges.
SHARPNESS = 0.1

_RING = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


def sharpen(
    image: Tensor, probabilities: Tensor, dilations: tuple[int, ...] = DILATIONS, iterations: int = ITERATIONS
) -> Tensor:
    """Average the probabilities of every pixel over its neighbours repeatedly, weighted by similar colour.

    Parameters
    ----------
    image : Tensor
        uint8 RGB, shape (3, H, W).
    probabilities : Tensor
        float32, shape (K, H, W), with sum 1 over the K classes.
    dilations : tuple of int
        Distances of the neighbours; beyond the image its border pixels are repeated.
    iterations : int

    Returns
    -------
    Tensor
        float32, shape (K, H, W), with sum 1.

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
    """Compute the weights of every pixel's neighbours: float32, (8 · dilations, H, W), with sum 1 per pixel."""
    pixels = image.float() / 255
    neighbours = torch.stack(_neighbours(pixels, dilations))
    deviation = neighbours.std(dim=0)
    # The small number keeps the division defined where all neighbours have one colour.
    differences = (neighbours - pixels).abs() / (SHARPNESS * deviation + 1e-8)
    return (-differences.mean(dim=1)).softmax(dim=0)


def _neighbours(values: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """Return views of a padded copy of (C, H, W) values, one per neighbour."""
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
