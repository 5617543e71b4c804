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

#: Images of more pixels, 16 million, are labelled a strip of rows at a time.
MAX_PIXELS = 2**24

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
    dtype = np.uint8 if len(logits) < NOISE_8 else np.uint16
    if height * width > MAX_PIXELS:
        return _label_strips(logits[classes].float(), classes.cpu().numpy().astype(dtype), height, width)
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


def _label_strips(logits: Tensor, labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Do what :func:`predict_labels` does with the logits of a few classes, whose labels are given.

    Nothing but the labels has the size of the image, whatever that is.
    """
    top, bottom, down = _neighbours(logits.shape[1], height, logits.device)
    drawn = np.empty((height, width), labels.dtype)
    rows = max(1, MAX_LOGITS // (len(logits) * width))
    for start in range(0, height, rows):
        strip = slice(start, start + rows)
        of_rows = torch.lerp(logits[:, top[strip]], logits[:, bottom[strip]], down[strip, None])
        # From as many rows to as many: along the rows only.
        size = of_rows.shape[1], width
        upsampled = functional.interpolate(of_rows[None], size, mode="bilinear", align_corners=False)[0]
        drawn[strip] = labels[upsampled.argmax(dim=0).cpu().numpy()]
    return drawn


def _neighbours(cells: int, length: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two cells between whose centres each pixel of a side lies, and the weight of the second."""
    places = ((torch.arange(length, dtype=torch.float64, device=device) + 0.5) * cells / length - 0.5).clamp(min=0)
    first = places.long().clamp(max=cells - 1)
    return first, (first + 1).clamp(max=cells - 1), (places - first).float()
