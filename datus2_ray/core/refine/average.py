"""The average of a segmenter's weights over the optimiser steps: the mean teacher."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_weights(segmenter: nn.Module, momentum: float) -> AveragedModel:
    """Start an average of a segmenter's weights and batch-norm statistics, to be updated after every step.

    The average is the plain mean of all states for the first 1 / (1 - momentum) steps, because the first of them are
    far from any use, and a running average with this momentum from then on.

    References
    ----------
    Tarvainen and Valpola, "Mean teachers are better role models", arXiv 1703.01780 (2017).
    """

    def update(averages: Sequence[Tensor], values: Sequence[Tensor], count: Tensor | int) -> None:
        decay = min(momentum, int(count) / (int(count) + 1))
        get_ema_multi_avg_fn(decay)(averages, values, count)  # type: ignore[no-untyped-call]

    average = AveragedModel(segmenter, multi_avg_fn=update, use_buffers=True)
    return average.eval().requires_grad_(requires_grad=False)
