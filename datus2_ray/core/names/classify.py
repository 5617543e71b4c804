"""Classes of pixels and segments by what a layer says of patches, and by what a person said of single segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datus2_ray.core.images.labels import Labels, upsample_nearest
from datus2_ray.core.names.names import UNNAMED
from datus2_ray.core.refine.prediction import predict_labels

#: Added to the logit of the class that the segment of a patch is named: a name is evidence, but no proof. Measured with
#: 27, 60 and 120 names: masks of SUIM gain 0.2 to 0.6 points of mIoU, those of CamVid lose 0.1.
EVIDENCE = 0.5


@dataclass(frozen=True)
class Classified:
    """What is known of an image.

    Parameters
    ----------
    mask : uint8 or uint16 [H, W]
        Class of every pixel, as `table` has it, see :func:`~datus2_ray.core.names.masks.label_table`.
    confidence : float32 [h, w]
        Probability of the class of every patch.
    segment_classes : int64 [S]
        The class with the largest sum of probabilities over the patches of a segment; None without segments.
    segment_confidence : float64 [S]
        Mean probability of that class; None without segments.
    """

    mask: Labels
    confidence: NDArray[np.float32]
    segment_classes: NDArray[np.int64] | None = None
    segment_confidence: NDArray[np.float64] | None = None


def classify_pixels(logits: Tensor, table: Labels, height: int, width: int) -> Classified:
    """Classify an image without segments by its logits, float [C, h, w]; see :func:`classify_segments`."""
    mask: Labels = table[predict_labels(logits, height, width)]
    return Classified(mask, logits.softmax(dim=0).amax(dim=0).numpy())


def classify_segments(
    logits: Tensor,
    table: Labels,
    height: int,
    width: int,
    patch_map: NDArray[np.integer[Any]],
    named: NDArray[np.integer[Any]],
    given: Mapping[int, int],
) -> Classified:
    """Classify an image with segments.

    Parameters
    ----------
    logits : Tensor
        float, shape [C, h, w].
    table : uint8 or uint16 [C + 1]
        As :func:`~datus2_ray.core.names.masks.label_table` returns it.
    patch_map : int [h, w]
        Segment of every patch, -1 = noise.
    named : int [S]
        Class that every segment is named, -1 where none.
    given : mapping of int to int
        Class of single segments that a person named: they have it, with a probability of 1, whatever the layer says.
    """
    of_name: NDArray[Any] = np.append(named, UNNAMED)[patch_map]
    rows, columns = np.nonzero(of_name >= 0)
    logits = logits.clone()
    logits[of_name[rows, columns], rows, columns] += EVIDENCE
    by_layer = classify_pixels(logits, table, height, width)
    valid = patch_map >= 0
    of_patch = patch_map[valid]
    sums = np.zeros((len(named), len(logits)))
    np.add.at(sums, of_patch, logits.softmax(dim=0).numpy()[:, valid].T)
    classes = sums.argmax(axis=1)
    confidence = sums.max(axis=1) / np.bincount(of_patch, minlength=len(named))
    if not given:
        return Classified(by_layer.mask, by_layer.confidence, classes, confidence)
    alone = list(given)
    classes[alone], confidence[alone] = list(given.values()), 1.0
    inside = np.isin(patch_map, alone)
    of_pixel: NDArray[Any] = upsample_nearest(np.where(inside, patch_map, -1), height, width)
    mask = by_layer.mask.copy()
    mask[of_pixel >= 0] = table[classes[of_pixel[of_pixel >= 0]]]
    return Classified(mask, np.where(inside, np.float32(1), by_layer.confidence), classes, confidence)
