"""Self-training on noisy masks: class weights, a loss that bears wrong labels, an averaged teacher, its sure labels."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.core.images.labels import NOISE_8, NOISE_16
from datus2_ray.core.refine.deeplab import pixel_cross_entropy
from datus2_ray.core.refine.file import Segmenter

#: Exponent of the generalised cross entropy: 0 is the cross entropy, 1 the mean absolute error.
EXPONENT = 0.7


def count_labels(labels: Tensor, classes: int) -> Tensor:
    """Count the pixels of every class.

    Parameters
    ----------
    labels : Tensor
        Integers of any shape: 0 … K-1, or noise, which is 255 in uint8 and 65535 in any wider type.
    classes : int
        K.

    Returns
    -------
    Tensor
        int64, shape [K]; noise is not counted.
    """
    return torch.bincount(labels[labels != _noise_of(labels)].flatten().long(), minlength=classes)


def class_weights(pixels: Tensor) -> Tensor:
    """Weigh classes by the inverse square root of their pixels, with a mean of 1 over all pixels.

    Parameters
    ----------
    pixels : Tensor
        int64, shape [K].

    Returns
    -------
    Tensor
        float32, shape [K]; a class without pixels weighs as much as one with a single pixel.

    References
    ----------
    Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining", arXiv 1805.00932 (2018), section 2.2, for
    the square root.
    """
    weights = pixels.clamp(min=1).double().rsqrt()
    return (weights * pixels.sum().clamp(min=1) / (weights * pixels).sum().clamp(min=1)).float()


def pixel_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, exponent: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Sum a loss over the pixels that are not noise: the (generalised) cross entropy, weighted by class or not.

    Parameters
    ----------
    logits : Tensor
        float, shape [B, K, h, w].
    labels : Tensor
        As :func:`~datus2_ray.core.refine.deeplab.pixel_cross_entropy` takes them.
    weights : Tensor, optional
        float32, shape [K], of the labels' classes; default 1 each.
    exponent : float
        q of (1 - pᵠ) / q, where p is the probability of the label: a pixel that contradicts all others pulls the less,
        the larger q is. At 0 it is the cross entropy.

    Returns
    -------
    loss : Tensor
        Sum over those pixels; 0 (with gradient 0) where there are none.
    pixels : Tensor
        Their number, int64.

    References
    ----------
    Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", arXiv
    1805.07836 (2018).
    """
    if weights is None and not exponent:
        return pixel_cross_entropy(logits, labels)
    rows = logits.float().permute(0, 2, 3, 1).reshape(-1, logits.shape[1])
    targets = labels.reshape(-1).long()
    valid = targets != _noise_of(labels)
    targets = targets.where(valid, 0)
    losses = functional.cross_entropy(rows, targets, reduction="none")
    if exponent:
        losses = -torch.expm1(-exponent * losses) / exponent
    if weights is not None:
        losses = losses * weights[targets]
    return (losses * valid).sum(), valid.sum()


def confident_labels(logits: Tensor, confidence: float, dtype: torch.dtype) -> Tensor:
    """Label the pixels whose most likely class has at least some probability; the others become noise.

    Parameters
    ----------
    logits : Tensor
        float, shape [B, K, h, w].
    confidence : float
        The least probability.
    dtype : torch.dtype
        Of the labels: uint8 (noise 255) or a wider integer (noise 65535).

    Returns
    -------
    Tensor
        Shape [B, h, w].
    """
    probability, label = logits.float().softmax(dim=1).max(dim=1)
    noise = NOISE_8 if dtype == torch.uint8 else NOISE_16
    return label.masked_fill(probability < confidence, noise).to(dtype)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float, steps_done: int) -> None:
    """Move the teacher's weights and batch-norm statistics towards the student's: a running average.

    Parameters
    ----------
    teacher, student : Module
        Of the same make; the teacher is changed.
    momentum : float
        Share of the teacher that stays, once there were 1 / (1 - momentum) steps; until then the teacher is the plain
        mean of all states so far, for the first of them are far from any use.
    steps_done : int
        Updates before this one.

    References
    ----------
    Tarvainen and Valpola, "Mean teachers are better role models", arXiv 1703.01780 (2017).
    """
    share = 1 - min(momentum, steps_done / (steps_done + 1))
    of_student = student.state_dict()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            value.lerp_(of_student[name], share)
        else:
            value.copy_(of_student[name])


class SelfTraining:
    """The segmenters beside the one that learns: its average, and the frozen one that makes a later round's labels.

    Parameters
    ----------
    student : Segmenter or TokenSegmenter
        The one that learns, on its device.
    momentum : float
        Of the teacher; 0 for none.
    confidence : float
        Least probability of a label that a segmenter makes.
    """

    def __init__(self, student: Segmenter, momentum: float, confidence: float) -> None:
        self._student, self._momentum, self._confidence = student, momentum, confidence
        self._teacher = _frozen(student) if momentum else None
        self._labeller: Segmenter | None = None

    @property
    def kept(self) -> Segmenter:
        """The segmenter that is validated and kept: the teacher where there is one, else the student."""
        return self._teacher or self._student

    def begin_round(self) -> None:
        """From here on let what the kept segmenter is now make the labels."""
        self._labeller = _frozen(self.kept)

    @torch.no_grad()
    def targets(self, images: Tensor, labels: Tensor) -> Tensor:
        """Give the labels to learn: the initial ones in the first round, then those that the labeller is sure of.

        Parameters
        ----------
        images : Tensor
            uint8, shape [B, 3, size, size], not augmented.
        labels : Tensor
            Their initial labels, shape [B, size, size].
        """
        if self._labeller is None:
            return labels
        return confident_labels(self._labeller(images), self._confidence, labels.dtype)

    def end_step(self, step: int) -> None:
        """Let the teacher follow the student, which has just taken this step, counted from 0."""
        if self._teacher is not None:
            update_teacher(self._teacher, self._student, self._momentum, step)

    def state_dict(self) -> dict[str, Any]:
        """Give what going on needs beside the kept segmenter, which is None where there is no such segmenter."""
        return {
            "student": self._student.state_dict() if self._teacher is not None else None,
            "labeller": self._labeller.state_dict() if self._labeller is not None else None,
        }

    def load_state_dict(self, kept: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go on with a kept segmenter's state and what :meth:`state_dict` gave with it."""
        self.kept.load_state_dict(kept)
        if state["student"] is not None:
            self._student.load_state_dict(state["student"])
        if state["labeller"] is not None:
            self._labeller = _frozen(self._student)
            self._labeller.load_state_dict(state["labeller"])


def _frozen(segmenter: Segmenter) -> Segmenter:
    return copy.deepcopy(segmenter).eval().requires_grad_(requires_grad=False)


def _noise_of(labels: Tensor) -> int:
    return NOISE_8 if labels.dtype == torch.uint8 else NOISE_16
