"""Smooth random textures: noise on the screen, and an endless noise tile for textures in perspective."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

_TILE = 512


def value_noise(rng: np.random.Generator, height: int, width: int, cell: float, stretch: float = 1.0) -> Floats:
    """Return smooth noise [height, width] of mean 0 and deviation near 1: normal numbers on a grid, bicubic between.

    ``cell`` is the grid's step in pixels, at least 1; ``stretch`` widens it along x.
    """
    return fractal_noise(rng, height, width, cell, 1, 1.0, stretch)


def fractal_noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 4,
    gain: float = 0.55,
    stretch: float = 1.0,
) -> Floats:
    """Return the sum of noise of steps ``cell``, ``cell`` / 2, ..., each ``gain`` times as strong as the one before.

    Mean 0, deviation near 1. Octaves are added on their own small grids and enlarged together: pixels are touched once.
    """
    grid, rows, columns, power = np.zeros((1, 1), np.float32), 1.0, 1.0, 0.0
    for octave in range(octaves):
        step_y, step_x = max(cell / 2**octave, 1.0), max(cell * stretch / 2**octave, 1.0)
        rows, columns = height / step_y, width / step_x
        shape = (int(rows) + 3, int(columns) + 3)
        strength = np.float32(gain**octave)
        if octave:
            grid = _resized(grid, *shape, None)
        grid = grid + strength * rng.standard_normal(shape, dtype=np.float32)
        power += gain ** (2 * octave)
    y, x = rng.random(2)
    if rows == height and columns == width:
        return grid[:height, :width] / np.float32(np.sqrt(power))
    # Interpolation averages: 1.3 brings the deviation back to about 1.
    noise: Floats = _resized(grid, height, width, (x, y, x + columns, y + rows)) * np.float32(1.3 / np.sqrt(power))
    return noise


def _resized(grid: Floats, height: int, width: int, box: tuple[float, float, float, float] | None) -> Floats:
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box))


@lru_cache
def noise_tile(exponent: float) -> Floats:
    """Return a periodic noise tile [512, 512] whose spectrum falls as 1 / frequency**exponent; mean 0, deviation 1."""
    white = np.random.default_rng(0).standard_normal((_TILE, _TILE))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    frequency[0, 0] = np.inf
    tile = np.fft.irfft2(np.fft.rfft2(white) * frequency**-exponent, s=(_TILE, _TILE))
    unit: Floats = (tile / tile.std()).astype(np.float32)
    return unit


def sample_tile(tile: Floats, v: Floats, u: Floats) -> Floats:
    """Read the tile at rows v and columns u (in its pixels, any number), bilinear and endless."""
    row, column = np.floor(v), np.floor(u)
    dv, du = v - row, u - column
    # The tile's side is a power of two: the mask is the remainder, also of negative numbers.
    i, j = row.astype(np.int32) & (_TILE - 1), column.astype(np.int32) & (_TILE - 1)
    below, right = ((i + 1) & (_TILE - 1)) * _TILE, (j + 1) & (_TILE - 1)
    i *= _TILE
    flat = tile.ravel()
    upper, lower = flat.take(i + j), flat.take(below + j)
    upper += du * (flat.take(i + right) - upper)
    lower += du * (flat.take(below + right) - lower)
    values: Floats = upper + dv * (lower - upper)
    return values


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """Return a cubic that rises from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    step: Floats = t * t * (3.0 - 2.0 * t)
    return step
