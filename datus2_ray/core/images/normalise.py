"""Normalise uint8 pixels to the statistics that a network was trained on."""

from __future__ import annotations

import torch
from torch import Tensor


class Normalisation:
    """Scale pixels to 0..1, subtract the mean, divide by the deviation: bitwise what torchvision's transforms do.

    Parameters
    ----------
    mean, std : tuple of float
        RGB statistics of pixels in 0..1.
    device : torch.device
        Device of the arithmetic, so that images are copied there as uint8.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device) -> None:
        self.mean, self.std, self.device = mean, std, device
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Convert uint8 RGB (B, H, W, 3) on any device to normalised float32 (B, 3, H, W) on the device."""
        if self.device.type == "cuda" and pixels.device.type == "cpu":
            # The GPU copies from pinned memory while the CPU goes on.
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        scaled = pixels.to(self.device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return scaled.div_(255).sub_(self._mean).div_(self._std)
