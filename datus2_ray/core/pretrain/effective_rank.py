"""How many directions the vectors of a backbone use: a score of its quality that needs no labels."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def effective_rank(vectors: Tensor) -> float:
    """Compute RankMe (Garrido et al., arXiv 2210.02885): the exponential of the entropy of the singular values.

    Parameters
    ----------
    vectors : Tensor
        Shape [n, D].

    Returns
    -------
    float
        Between 1, all vectors on one line, and min(n, D). Comparable only between the same images and the same D.
    """
    values = torch.linalg.svdvals(vectors.double())
    share = values / values.sum() + 1e-12
    return float(torch.exp(-(share * share.log()).sum()))
