"""Does a self-supervised training still learn something? Two numbers that fall to zero where it collapses."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

#: Under these the training has collapsed: vectors that all look alike, prototypes that tell nothing of the image.
LEAST_DEVIATION = 0.02
LEAST_INFORMATION = 0.02

#: So many steps in a row must be under a bound: at the very start, and now and then, a healthy training is too.
PATIENCE = 100


@torch.no_grad()
def feature_deviation(vectors: Tensor) -> Tensor:
    """Measure how far vectors differ: the mean deviation of their components, once scaled to length sqrt(D).

    Parameters
    ----------
    vectors : Tensor
        Shape [n, D].

    Returns
    -------
    Tensor
        Scalar: 0 where all point the same way, 1 where they point everywhere (Chen and He, arXiv 2011.10566, fig. 2).
    """
    return functional.normalize(vectors.float(), dim=1).std(dim=0).mean() * math.sqrt(vectors.shape[1])


@torch.no_grad()
def prototype_information(assignments: Tensor) -> Tensor:
    """Measure how much the chosen prototype tells of the view: the mutual information of the two, in nats.

    It is the entropy of the mean assignment less the mean entropy of the assignments: 0 where one prototype takes all
    views, and where every view takes all prototypes alike, the two ways in which such a training collapses.

    Parameters
    ----------
    assignments : Tensor
        Rows that sum to 1, shape [n, prototypes].

    Returns
    -------
    Tensor
        Scalar between 0 and log(min(n, prototypes)).
    """
    mean = assignments.mean(0)
    information: Tensor = torch.special.entr(mean).sum() - torch.special.entr(assignments).sum(1).mean()
    return information


class CollapseWatch:
    """Tells when a training has learned, over :data:`PATIENCE` steps in a row, that everything is the same."""

    def __init__(self) -> None:
        self._low = 0

    def check(self, step: int, loss: float, deviation: float, information: float) -> str | None:
        """Look at one step.

        Returns
        -------
        str or None
            Where the loss is no number, or the features have collapsed: what happened, and what to change.
        """
        if not math.isfinite(loss):
            return f"pretrain: the loss is not a number at step {step}; lower pretrain.learning_rate"
        collapsed = deviation < LEAST_DEVIATION or information < LEAST_INFORMATION
        self._low = self._low + 1 if collapsed else 0
        if self._low < PATIENCE:
            return None
        return (
            f"pretrain: collapsed at step {step}: patch vectors deviate by {deviation:.3f} (least {LEAST_DEVIATION}), "
            f"prototypes tell {information:.3f} nats of a view (least {LEAST_INFORMATION}); lower "
            f"pretrain.learning_rate, raise pretrain.momentum, or give more images"
        )
