"""Cross entropy between the prototypes that a teacher chooses and those that a student predicts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor
from torch.nn import functional

#: Temperature of the student's outputs.
STUDENT_TEMPERATURE = 0.1

#: Times that the columns, then the rows, are scaled.
SINKHORN_STEPS = 3


def balanced_assignments(logits: Tensor, temperature: float) -> Tensor:
    """Assign the teacher's outputs to prototypes so that all prototypes are used alike (Sinkhorn-Knopp).

    In short trainings with small batches this works at once, where DINO's running centre needs a while to settle; it is
    also what DINOv2 does (Oquab et al., arXiv 2304.07193, section 4), after SwAV (Caron et al., arXiv 2006.09882).

    Parameters
    ----------
    logits : Tensor
        Cosines with the prototypes, float32, shape [n, prototypes]. The rows of all workers of a distributed training
        are balanced together, and n may differ between workers (which lightly's ``sinkhorn`` does not allow).
    temperature : float
        The teacher's.

    Returns
    -------
    Tensor
        Rows that sum to 1; the columns of all workers' rows together sum to about the same.
    """
    assignments = torch.exp((logits - 1) / temperature)  # a cosine is at most 1, so nothing overflows
    for _ in range(SINKHORN_STEPS):
        columns = assignments.sum(0)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(columns)
        assignments = assignments / columns.clamp(min=torch.finfo(columns.dtype).tiny)
        assignments = assignments / assignments.sum(1, keepdim=True).clamp(min=torch.finfo(columns.dtype).tiny)
    return assignments


def cls_cross_entropy(targets: Sequence[Tensor], logits: Sequence[Tensor]) -> Tensor:
    """Compute DINO's loss: every view of the student predicts what the teacher chose for every other view.

    Parameters
    ----------
    targets : sequence of Tensor
        Assignments of the first views, shape [B, prototypes] each.
    logits : sequence of Tensor
        The student's outputs for all views.

    Returns
    -------
    Tensor
        Scalar: mean over pairs of different views and over images.
    """
    losses = [
        -(target * functional.log_softmax(predicted / STUDENT_TEMPERATURE, dim=1)).sum(1).mean()
        for number, target in enumerate(targets)
        for other, predicted in enumerate(logits)
        if other != number
    ]
    return torch.stack(losses).mean()


def patch_cross_entropy(targets: Tensor, logits: Tensor, wanted: Tensor) -> Tensor:
    """Compute the mean over views of the mean over their wanted patches; a view without any counts as 0.

    Parameters
    ----------
    targets, logits : Tensor
        Assignments and the student's outputs of the wanted patches, shape [n, prototypes], in the order of ``wanted``.
    wanted : Tensor
        bool, shape [V, g, g].
    """
    losses = -(targets * functional.log_softmax(logits / STUDENT_TEMPERATURE, dim=1)).sum(1)
    share = 1 / wanted.sum((1, 2), keepdim=True).clamp(min=1)
    return (losses * share.expand_as(wanted)[wanted]).sum() / len(wanted)
