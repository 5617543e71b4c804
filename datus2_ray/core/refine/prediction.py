"""The labels that logits stand for, at the size of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from datus2_ray.core.images.labels import NOISE_8, Labels

#: Upsampled logits of one image that are held at a time: 256 MB of float32.
MAX_LOGITS = 2**26

#: What the rounding of an interpolation may add to a logit, as a share of the largest.
ROUNDING = 1e-5


def predict_labels(logits: Tensor, height: int, width: int) -> Labels:
    """Return the most likely class of every pixel of an image: logits are upsampled bilinearly first, argmax after.

    Parameters
    ----------
    logits : Tensor
        float, shape [K, h, w], of one image.
    height, width : int
        Size of the image itself, in pixels.

    Returns
    -------
    ndarray
        Shape [height, width]; uint8 up to 254 classes, uint16 above. The lowest class wins a tie.
    """
    classes = possible_classes(logits.float())
    # A few classes at a time: all of them at the size of a large photograph would not fit.
    chunk = max(1, MAX_LOGITS // (height * width))
    best, label = torch.empty(0), torch.empty(0)
    for start in range(0, len(classes), chunk):
        some = classes[start : start + chunk]
        part = logits[some][None].float()
        upsampled = functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]
        value, index = upsampled.max(dim=0)
        if start == 0:
            best, label = value, some[index]
        else:
            better = value > best
            best = torch.where(better, value, best)
            label = torch.where(better, some[index], label)
    dtype = np.uint8 if len(logits) < NOISE_8 else np.uint16
    labels: NDArray[Any] = label.to(torch.int32).cpu().numpy().astype(dtype)
    return labels


def possible_classes(logits: Tensor) -> Tensor:
    """Return the classes that may be the most likely one of some pixel, ascending, int64.

    A pixel's logits are means of those of at most four neighbours: a class none of which reaches what another class
    has at all four of them cannot win between them. Of hundreds of classes a few are left, and upsampled.

    Parameters
    ----------
    logits : Tensor
        float32, shape [K, h, w].
    """
    neighbours = [min(2, side) for side in logits.shape[1:]]
    highest = functional.max_pool2d(logits[None], neighbours, stride=1)[0]
    lowest = -functional.max_pool2d(-logits[None], neighbours, stride=1)[0]
    reached = lowest.max(dim=0).values - ROUNDING * logits.abs().max()
    # Not `>=`: logits that are no numbers rule out none.
    return (~(highest < reached)).flatten(1).any(dim=1).nonzero()[:, 0]
