from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datus2_ray.core.describe.crops import crop, crops


def pillow_crop(image: np.ndarray, inside: np.ndarray, box: tuple[int, int, int, int], patch: int) -> np.ndarray:
    """METHOD.md step 6 as it reads, by Pillow."""
    masked = image * np.kron(inside, np.ones((patch, patch), dtype=np.uint8))[..., None]
    top, left, bottom, right = (edge * patch for edge in box)
    window = Image.fromarray(masked[top:bottom, left:right])
    scale = 256 / min(window.size)
    size = [256 if side == min(window.size) else int(side * scale) for side in window.size]
    resized = np.asarray(window.resize(size, Image.Resampling.BICUBIC))
    y, x = round((resized.shape[0] - 224) / 2), round((resized.shape[1] - 224) / 2)
    return resized[y : y + 224, x : x + 224]


@pytest.mark.parametrize("box", [(3, 4, 9, 12), (0, 0, 28, 1), (0, 0, 28, 28), (5, 0, 6, 28), (20, 21, 28, 28)])
def test_crop_is_what_pillow_makes(real_data: Path, box: tuple[int, int, int, int]) -> None:
    path = sorted((real_data / "camvid" / "val" / "images").iterdir())[0]
    image = np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
    patch_map = np.full((28, 28), -1, dtype=np.int16)
    patch_map[box[0] : box[2], box[1] : box[3]] = 1
    patch_map[box[0], box[1]] = 0  # a hole that must be black
    ours = crop(torch.from_numpy(image.copy()), torch.from_numpy(patch_map), 1, np.array(box)).numpy()
    theirs = pillow_crop(image, patch_map == 1, box, 8)
    assert ours.shape == (224, 224, 3)
    # torchvision and Pillow round their fixed-point kernels differently, once a direction.
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 2
    assert difference.mean() < 0.05


def test_crops_of_an_image_without_segments() -> None:
    pixels = torch.zeros(224, 224, 3, dtype=torch.uint8)
    assert crops(pixels, torch.full((28, 28), -1), np.empty((0, 4))).shape == (0, 224, 224, 3)
