"""Crops of segments for a second forward pass, cut on the device from the uint8 image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

#: Short side to which a crop is resized, and side of the square cut from its centre (DatUS², step 6).
CROP_RESIZE, CROP_SIZE = 256, 224


def crop(pixels: Tensor, patch_map: Tensor, segment: int, box: np.ndarray) -> Tensor:
    """Cut out one segment: uint8, shape (224, 224, 3).

    Patches outside the segment become black, the tight box is cut out, its short side is resized to 256 (bicubic, with
    Pillow's kernel, uint8) and the central 224 x 224 is kept (DatUS², step 6).

    Parameters
    ----------
    pixels : Tensor
        The image at the backbone's input size, uint8, shape (H, W, 3).
    patch_map : Tensor
        Segment of every patch, integer, shape (h, w), on the same device.
    segment : int
    box : ndarray
        Top, left, bottom, right of the segment in patches, the last two exclusive.
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
