"""Correspondence: what is alike in tokens shall be alike in codes, and what is not shall not.

Hamilton et al., "Unsupervised Semantic Segmentation by Distilling Feature Correspondences", arXiv 2203.08414 (2022),
section 3.2.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def similarities(first: Tensor, second: Tensor) -> Tensor:
    """Compute the cosines of the vectors of pairs of images: [B, n, D] and [B, m, D] to [B, n, m]."""
    return functional.normalize(first, dim=2) @ functional.normalize(second, dim=2).transpose(1, 2)


def mean_similarity(first: Tensor, second: Tensor) -> float:
    """Return the mean of all :func:`similarities` of pairs of images, [B, n, D] and [B, m, D]."""
    means = [functional.normalize(vectors, dim=2).mean(dim=1) for vectors in (first, second)]
    return float((means[0] * means[1]).sum(dim=1).mean())


def centre(similar: Tensor) -> Tensor:
    """Subtract from the similarities of every point of the first image their mean over the second: equation 3."""
    return similar - similar.mean(dim=2, keepdim=True)


def correspondence_loss(tokens: Tensor, codes: Tensor, shift: float) -> Tensor:
    """Return the mean of -(F - b) · max(S, 0) over the points of pairs of images: equation 4.

    Codes of points whose tokens are more alike than the shift are drawn together, those of others apart until they are
    orthogonal.

    Parameters
    ----------
    tokens : Tensor
        F: centred similarities of tokens, [B, n, m].
    codes : Tensor
        S: similarities of codes, [B, n, m].
    shift : float
        b.
    """
    return -((tokens - shift) * codes.clamp(min=0)).mean()
