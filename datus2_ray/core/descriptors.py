"""Segment descriptors: the mean of a segment's patch tokens, and the blacked-out crop that a ViT or CNN looks at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

#: Short side to which a crop is resized, and side of the square cut from its centre (DatUS², step 6).
CROP_RESIZE, CROP_SIZE = 256, 224


def l2_normalise(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays zero.

    Parameters
    ----------
    vectors : ndarray
        Float, shape (n, D).

    Returns
    -------
    ndarray
        float32, shape (n, D).
    """
    length = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)


def mean_tokens(tokens: np.ndarray, patch_map: np.ndarray, segments: int) -> np.ndarray:
    """Describe every segment by the L2-normalised mean of its patch tokens: no further forward pass.

    Parameters
    ----------
    tokens : ndarray
        Patch tokens in raster order, float, shape (N, D).
    patch_map : ndarray
        Segment of every patch, -1 = noise, shape (h, w) with h·w = N.
    segments : int
        Number of valid segments S.

    Returns
    -------
    ndarray
        float32, shape (S, D).
    """
    members = patch_map.ravel()
    sums = np.zeros((segments, tokens.shape[1]), dtype=np.float64)
    np.add.at(sums, members[members >= 0], tokens[members >= 0].astype(np.float64))
    return l2_normalise(sums)


def crop(pixels: Tensor, patch_map: Tensor, segment: int, box: np.ndarray) -> Tensor:
    """Cut a segment out for the second forward pass, on the device and never through a JPEG.

    Patches outside the segment become black, the tight patch-aligned box is cut out, its short side is resized to 256
    (bicubic, with Pillow's kernel, uint8) and the central 224 x 224 is kept (DatUS², step 6).

    Parameters
    ----------
    pixels : Tensor
        The image as the backbone saw it, uint8, shape (H, W, 3).
    patch_map : Tensor
        Segment of every patch, integer, shape (h, w), on the same device.
    segment : int
        Which segment.
    box : ndarray
        Its top, left, bottom, right in patches, the last two exclusive.

    Returns
    -------
    Tensor
        uint8, shape (224, 224, 3).
    """
    side_y, side_x = pixels.shape[0] // patch_map.shape[0], pixels.shape[1] // patch_map.shape[1]
    top, left, bottom, right = (int(edge) for edge in box)
    inside = patch_map[top:bottom, left:right] == segment
    inside = inside.repeat_interleave(side_y, dim=0).repeat_interleave(side_x, dim=1)
    window = pixels[top * side_y : bottom * side_y, left * side_x : right * side_x] * inside[..., None]
    resized = transforms.resize(
        window.permute(2, 0, 1), [CROP_RESIZE], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    square: Tensor = transforms.center_crop(resized, [CROP_SIZE, CROP_SIZE])
    return square.permute(1, 2, 0)


def crops(pixels: Tensor, patch_map: Tensor, boxes: np.ndarray) -> Tensor:
    """Cut out every segment of an image: uint8, shape (S, 224, 224, 3); see :func:`crop`."""
    cut = [crop(pixels, patch_map, segment, box) for segment, box in enumerate(boxes)]
    return torch.stack(cut) if cut else pixels.new_zeros((0, CROP_SIZE, CROP_SIZE, 3))
