"""The loss of a segmenter: cross entropy, or the generalised one, over the pixels that are not noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from datus2_ray.core.images.labels import NOISE_8, NOISE_16

#: Exponent of the generalised cross entropy: 0 is the cross entropy, 1 the mean absolute error.
EXPONENT = 0.7


def pixel_loss(logits: Tensor, labels: Tensor, exponent: float = 0.0) -> tuple[Tensor, Tensor]:
    """Sum the (generalised) cross entropy over the pixels that are not noise.

    Parameters
    ----------
    logits : Tensor
        float, shape [B, K, h, w].
    labels : Tensor
        Integers, shape [B, h, w]: 0 … K-1, or noise, which is 255 in uint8 and 65535 in any wider type.
    exponent : float
        q of (1 - pᵠ) / q, where p is the probability of the label: the larger q, the smaller the gradient of a pixel
        whose label contradicts all others. 0 stands for the cross entropy, the limit.

    Returns
    -------
    loss : Tensor
        Sum over those pixels, in nats for the cross entropy; 0 (with gradient 0) if there are none.
    pixels : Tensor
        Their number, int64.

    References
    ----------
    Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", arXiv
    1805.07836 (2018).
    """
    noise = NOISE_8 if labels.dtype == torch.uint8 else NOISE_16
    # As rows of a matrix: the two-dimensional loss has no deterministic kernel on a GPU.
    rows = logits.float().permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    targets = labels.reshape(-1).long()
    losses = functional.cross_entropy(rows, targets, ignore_index=noise, reduction="none")
    if exponent:
        losses = -torch.expm1(-exponent * losses) / exponent
    return losses.sum(), (targets != noise).sum()
