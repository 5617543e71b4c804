"""Recipes of the head: ours, whose shifts follow from the tokens, and those that were published for three data sets.

Hamilton et al., "Unsupervised Semantic Segmentation by Distilling Feature Correspondences", arXiv 2203.08414 (2022),
and the settings of the authors' code, ``mhamilton723/STEGO``: those of ViT-S for COCO-Stuff and Potsdam, of ViT-B for
Cityscapes. The authors chose shifts and weights for each set and backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Recipe:
    """The constants of the training; all of them decide its result. Triples are for an image, one like it, another.

    Parameters
    ----------
    codes : int
        Length of a code.
    steps : int
        Optimiser steps.
    images, points : int
        Images per step, and points of each and of its partners; `images` is a multiple of
        :data:`~datus2_ray.core.head.fit.SHARES`.
    nearest : int
        Of how many most similar images one is drawn as the partner.
    shifts : tuple of float or None
        The shifts; None for quantiles.
    quantiles : tuple of float
        Shares of the centred similarities that are below the shift.
    weights : tuple of float
        Of the three losses.
    standardised : bool
        Whether the coordinates of tokens are brought to mean 0 and deviation 1 first.
    keeps_mean : bool
        Whether similarities that were centred point by point get the mean of the step back, as in the authors' code.
    learning_rate : float
        Of Adam.
    pilot : int
        Steps that are drawn before the first one, to find the shifts.
    """

    codes: int = 64
    steps: int = 800
    images: int = 16
    points: int = 64
    nearest: int = 7
    shifts: Triple | None = None
    quantiles: Triple = (0.6, 0.75, 0.95)
    weights: Triple = (0.67, 0.25, 0.63)
    standardised: bool = True
    keeps_mean: bool = False
    learning_rate: float = 5e-4
    pilot: int = 8


#: What each value of ``cluster.descriptors`` that names a head changes in our recipe. Of the published ones the length
#: of a code, shifts and weights; steps, points and their other images (one, not five) are ours, so that all cost alike.
CHANGES: dict[str, dict[str, Any]] = {
    "head": {},
    "stego-coco": {"codes": 70, "shifts": (0.08, 0.02, 0.66), "weights": (0.67, 0.25, 0.63)},
    "stego-cityscapes": {"codes": 100, "shifts": (0.458, 0.175, 0.314), "weights": (1.0, 0.577, 0.906)},
    "stego-potsdam": {"codes": 70, "shifts": (0.08, 0.02, 0.46), "weights": (0.67, 0.25, 0.63)},
}


def find_recipe(descriptors: str) -> Recipe:
    """Return the recipe of a value of ``cluster.descriptors`` that names a head."""
    changes = CHANGES[descriptors]
    raw = {"standardised": False, "keeps_mean": True} if changes else {}
    return Recipe(**{**changes, **raw})
