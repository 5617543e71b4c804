"""What a camera adds: a little blur, darker corners, a tone curve, and the grain of its sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.scenes.noise import Floats, value_noise

__all__ = ["develop"]


def develop(rng: np.random.Generator, pixels: Floats) -> NDArray[np.uint8]:
    """Turn the painted colours [H, W, 3] into the 8-bit picture of a camera."""
    height, width, _ = pixels.shape
    soft = _soften(pixels, np.float32(rng.uniform(0.06, 0.16)))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    corners = 1.0 - np.float32(rng.uniform(0.04, 0.16)) * (x * x + y * y) * 0.5
    balance = rng.uniform(0.96, 1.04, 3).astype(np.float32)
    exposed = np.clip(soft * corners[..., None] * balance * np.float32(rng.uniform(1.05, 1.20)), 0.0, 1.2)
    # A soft shoulder keeps highlights from burning out, a slight toe keeps the dark dark.
    toned = exposed * (1.0 + 0.12 * exposed) / (1.0 + 0.20 * exposed**2)
    # Shot noise grows with the root of the light; demosaicing makes it a little blotchy and coloured.
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    colour = np.stack([value_noise(rng, height, width, 2.0) for _ in range(3)], axis=-1) * np.float32(0.6)
    noisy = toned + (grain + colour) * np.sqrt(toned + 0.02) * np.float32(rng.uniform(0.004, 0.011))
    developed: NDArray[np.uint8] = np.rint(np.clip(noisy, 0.0, 1.0) * 255).astype(np.uint8)
    return developed


def _soften(pixels: Floats, share: np.float32) -> Floats:
    """Let every pixel take ``share`` from each of its neighbours, down and then across."""
    for axis in (0, 1):
        padded = np.pad(pixels, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        pixels = pixels + share * (before + after - 2 * pixels)
    return pixels
