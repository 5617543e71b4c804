"""Smooth random textures: noise on the screen, and an endless noise tile for textures in perspective."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Floats = NDArray[np.float32]

_TILE = 512


def axes(height: int, width: int) -> tuple[Floats, Floats]:
    """Return the rows [height, 1] and the columns [1, width] of a picture."""
    y, x = np.ogrid[:height, :width]
    return y.astype(np.float32), x.astype(np.float32)


def resize(values: Floats, height: int, width: int, box: tuple[float, float, float, float] | None = None) -> Floats:
    """Return values [H, W] at another size, bicubic."""
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC, box))


def noise(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int = 1,
    gain: float = 0.55,
    stretch: float = 1.0,
) -> Floats:
    """Return smooth noise [height, width] of mean 0 and deviation near 1: normal numbers on grids, bicubic between.

    The grids' steps are ``cell``, ``cell`` / 2, ... pixels (min 1), ``stretch`` times as long along x; each octave is
    ``gain`` times as strong as the one before. Octaves are added on their own small grids and enlarged together.
    """
    grid, rows, columns = np.zeros((1, 1), np.float32), 1.0, 1.0
    for octave in range(octaves):
        rows, columns = (side / max(cell * wider / 2**octave, 1.0) for side, wider in ((height, 1.0), (width, stretch)))
        shape = (int(rows) + 3, int(columns) + 3)
        grid = resize(grid, *shape) + np.float32(gain**octave) * rng.standard_normal(shape, dtype=np.float32)
    deviation = np.sqrt(sum(gain ** (2 * octave) for octave in range(octaves)))
    if rows == height and columns == width:
        return grid[:height, :width] / np.float32(deviation)
    y, x = rng.random(2)
    # Interpolation averages: 1.3 brings the deviation back to about 1.
    return resize(grid, height, width, (x, y, x + columns, y + rows)) * np.float32(1.3 / deviation)


@lru_cache
def noise_tile(exponent: float) -> Floats:
    """Return a periodic noise tile [512, 512] whose spectrum falls as 1 / frequency**exponent; mean 0, deviation 1."""
    white = np.random.default_rng(0).standard_normal((_TILE, _TILE))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :])
    frequency[0, 0] = np.inf
    tile = np.fft.irfft2(np.fft.rfft2(white) * frequency**-exponent, s=(_TILE, _TILE))
    return np.asarray(tile / tile.std(), np.float32)


def sample_tile(tile: Floats, v: Floats, u: Floats) -> Floats:
    """Read the tile at rows v and columns u (in its pixels, any number), bilinear and endless."""
    return np.asarray(ndimage.map_coordinates(tile, np.broadcast_arrays(v, u), order=1, mode="grid-wrap"))


def smoothstep(low: float, high: float, values: Floats) -> Floats:
    """Return a cubic that rises from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)
