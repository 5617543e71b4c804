"""Scores of a self-supervised training that need no labels: whether it collapsed, and how many directions it uses."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

#: Below these the training has collapsed: vectors all look alike, prototypes say nothing about the image.
MIN_DEVIATION = 0.02
MIN_INFORMATION = 0.02

#: So many steps in a row must be below a bound: at the very start, and now and then, a healthy training is too.
PATIENCE = 100


@torch.no_grad()
def feature_deviation(vectors: Tensor) -> Tensor:
    """Compute the mean deviation of the components of vectors [n, D], once these are scaled to length sqrt(D).

    It is 0 if all point the same way, 1 if they point everywhere (Chen and He, arXiv 2011.10566, fig. 2).
    """
    return functional.normalize(vectors.float(), dim=1).std(dim=0).mean() * math.sqrt(vectors.shape[1])


@torch.no_grad()
def prototype_information(assignments: Tensor) -> Tensor:
    """Compute the mutual information of the view and the chosen prototype, in nats.

    It is the entropy of the mean assignment minus the mean entropy of the assignments: 0 if one prototype takes all
    views, and if every view takes all prototypes alike, the two ways in which such a training collapses.

    Parameters
    ----------
    assignments : Tensor
        Rows that sum to 1, shape [n, prototypes].

    Returns
    -------
    Tensor
        Scalar in 0 … log(min(n, prototypes)).
    """
    information: Tensor = torch.special.entr(assignments.mean(0)).sum() - torch.special.entr(assignments).sum(1).mean()
    return information


@torch.no_grad()
def effective_rank(vectors: Tensor) -> float:
    """Compute RankMe (Garrido et al., arXiv 2210.02885): the exponential of the entropy of the singular values.

    Of vectors [n, D] it lies between 1, all on one line, and min(n, D); comparable only for the same images and D.
    """
    values = torch.linalg.svdvals(vectors.double())
    share = values / values.sum() + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))


class CollapseWatch:
    """Finds the step at which everything has looked the same for :data:`PATIENCE` steps in a row."""

    def __init__(self) -> None:
        self._low = 0

    def check(self, step: int, loss: float, deviation: float, information: float) -> str | None:
        """Return what happened, and what to change, if the loss is not a number or the features have collapsed."""
        if not math.isfinite(loss):
            return f"pretrain: the loss is not a number at step {step}; lower pretrain.learning_rate"
        collapsed = deviation < MIN_DEVIATION or information < MIN_INFORMATION
        self._low = self._low + 1 if collapsed else 0
        if self._low < PATIENCE:
            return None
        return (
            f"pretrain: collapsed at step {step}: patch vectors deviate by {deviation:.3f} (min {MIN_DEVIATION}), "
            f"prototypes say {information:.3f} nats about a view (min {MIN_INFORMATION}); lower "
            f"pretrain.learning_rate, raise pretrain.momentum, or give more images"
        )
