"""Colours that are easy to tell apart, for label maps that people look at."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Minimum CIELAB distance of consecutive colours, however many there are: labels with consecutive ids often touch.
_MIN_NEXT_DISTANCE = 40.0


def palette(n: int) -> NDArray[np.uint8]:
    """Return n distinct colours, RGB, uint8 [n, 3]: each is the one farthest from all before it.

    Greedy farthest-point choice by Euclidean distance in CIELAB (CIE 1976) among a grid of sRGB colours without the
    very dark, the very light and neon. The choice starts away from black, which shows noise, and from white, the
    colour of paper. ``palette(k)`` is the start of ``palette(n)`` for every k < n; after 2,048 the colours repeat.
    """
    colours = _farthest_colours(256 if n <= 256 else 2048)
    return colours[np.arange(n) % len(colours)]


@lru_cache
def _farthest_colours(n: int) -> NDArray[np.uint8]:
    levels = np.linspace(0, 255, 17).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _cielab(candidates)
    kept = (lab[:, 0] >= 30) & (lab[:, 0] <= 92) & (np.hypot(lab[:, 1], lab[:, 2]) <= 85)
    candidates, lab = candidates[kept], lab[kept]
    taken = _cielab(np.array([[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]]))
    distance = np.min(((lab[:, None] - taken) ** 2).sum(-1), axis=1)
    chosen = np.empty(n, np.int64)
    to_last = np.full(len(lab), np.inf)
    for i in range(n):
        chosen[i] = np.where(to_last > _MIN_NEXT_DISTANCE**2, distance, 0.0).argmax()
        to_last = ((lab - lab[chosen[i]]) ** 2).sum(-1)
        distance = np.minimum(distance, to_last)
    return candidates[chosen].astype(np.uint8)


def _cielab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB in 0..255 to CIELAB under D65 (IEC 61966-2-1, CIE 15)."""
    c = rgb / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array(
        [[0.4124564, 0.2126729, 0.0193339], [0.3575761, 0.7151522, 0.1191920], [0.1804375, 0.0721750, 0.9503041]]
    )
    t = xyz / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)
