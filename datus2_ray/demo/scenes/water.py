"""Water: ripples on the ground plane that bend a mirror image of what is already painted above them."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes.canvas import WATER, Canvas, Colour, rgb
from datus2_ray.demo.scenes.noise import Floats, noise_tile, sample_tile, smoothstep

__all__ = ["paint_water"]

_DEEP: tuple[Colour, ...] = (
    rgb(0.08, 0.22, 0.34),
    rgb(0.10, 0.28, 0.32),
    rgb(0.06, 0.18, 0.30),
    rgb(0.14, 0.26, 0.26),
    rgb(0.07, 0.30, 0.42),
)


def paint_water(canvas: Canvas, shore: float, roughness: float) -> None:
    """Cover everything below row ``shore`` with water that mirrors what is above it.

    ``roughness`` runs from 0 (a pond in the morning) to 1 (open sea): steeper waves break the mirror image up.
    """
    rng, unit, top = canvas.rng, canvas.height / 240, int(np.ceil(shore))
    light = canvas.light
    y = np.arange(top, canvas.height, dtype=np.float32)[:, None]
    metre, across, away = canvas.ground(top)
    offset = rng.uniform(0, 512, 2).astype(np.float32)
    # Crests run across the view, hence the finer step along the depth.
    swell = sample_tile(noise_tile(1.4), away * 2.2 + offset[0], across * 2.0 + offset[1])
    ripple = sample_tile(noise_tile(1.0), away * 9.0 + offset[1], across * 7.0 + offset[0])
    breeze = sample_tile(noise_tile(1.8), away * 0.5 + offset[1], across * 0.35 + offset[0])
    # Far waves are smaller than a pixel and average out.
    seen = smoothstep(0.0, 9.0 * unit, metre) * 0.8 + 0.2
    slope = (0.55 * swell + 0.6 * ripple) * seen * np.float32(0.35 + 0.65 * roughness)

    mirrored = _mirror(canvas, shore, y, slope, roughness)
    deep = _DEEP[rng.integers(len(_DEEP))] * (light.shade + light.sun * 0.8) * 1.15
    # Flat angles mirror more (Fresnel): far water shows the sky, near water its own colour.
    grazing = np.exp(-(y - np.float32(canvas.horizon)) / np.float32(0.55 * canvas.height))
    share = np.clip(0.30 + 0.55 * grazing - 0.16 * slope - 0.10 * np.maximum(breeze, 0.0), 0.08, 0.92)[..., None]
    colours = deep * (1.0 + 0.22 * slope)[..., None] * (1 - share) + mirrored * share
    crest = smoothstep(1.35, 2.4, slope + 0.35 * swell)[..., None] * np.float32(0.25 + 0.5 * roughness)
    colours = colours + crest * (light.haze + 0.2 * light.sun - colours)
    canvas.paint(colours, np.ones(away.shape, np.float32), WATER, top)


def _mirror(canvas: Canvas, shore: float, y: Floats, slope: Floats, roughness: float) -> Floats:
    """Look up what each pixel mirrors; a wave's slope moves the place mostly up and down."""
    x = np.arange(canvas.width, dtype=np.float32)[None, :]
    reach = (y - np.float32(shore)) * np.float32(0.10 + 0.30 * roughness) + np.float32(1.5)
    rows = np.clip(2 * np.float32(shore) - y + slope * reach, 0, max(int(shore) - 1, 0)).astype(np.int32)
    columns = np.clip(x + slope * reach * 0.25, 0, canvas.width - 1).astype(np.int32)
    mirrored: Floats = canvas.pixels[rows, columns]
    return mirrored
