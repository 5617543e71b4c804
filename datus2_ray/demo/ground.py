"""Grass, hills and water: textures on the ground plane, which shrink with distance."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.canvas import GRASS, TREE, WATER, Canvas, mix, palette
from datus2_ray.demo.noise import Floats, axes, noise, noise_tile, sample_tile, smoothstep

# Shaded and lit colour of every meadow, and of far woods.
_MEADOWS = palette("294d14 709933 1f471a 5c8f38 42521a 8f9e42 5c5224 b3a357 1a380f 4d8029").reshape(-1, 2, 3)
_WOODS = palette("142b17 426633")
_DEEP = palette("143857 1a4752 0f2e4d 244242 124d6b")


def ridge_line(canvas: Canvas, level: float, amplitude: float, cell: float) -> Floats:
    """Return the outline of a hill, rows [W] around ``level``; ``cell`` is a share of the width."""
    line = noise(canvas.rng, 1, canvas.width, cell * canvas.width, octaves=4, gain=0.45)[0]
    return np.asarray(np.float32(level) - np.float32(amplitude) * line)


def paint_ridge(canvas: Canvas, line: Floats, distance: float, wooded: bool) -> None:
    """Paint a far hill below a line of rows [W], in meadows or in woods, ``distance`` metres away."""
    rng, width = canvas.rng, canvas.width
    if wooded:
        line = line - np.abs(noise(rng, 1, width, 5.0, octaves=3)[0]) * np.float32(canvas.height * 0.008)
    shaded, lit = _WOODS if wooded else rng.choice(_MEADOWS)
    top, covered = _under(canvas, line)
    texture = noise(rng, len(covered), width, 3.5 if wooded else 14.0, octaves=3, gain=0.8, stretch=1.8)
    fields = noise(rng, len(covered), width, canvas.height * 0.12, octaves=2, stretch=3.0)
    colours = mix(shaded, lit, np.clip(0.55 + 0.16 * texture + 0.14 * fields, 0.0, 1.0))
    colours = canvas.light.through(colours * (canvas.light.shade + canvas.light.sun * 0.6), distance)
    canvas.paint(colours, covered, TREE if wooded else GRASS, top)


def paint_grass(canvas: Canvas, line: Floats) -> None:
    """Cover the ground below a line of rows [W] with grass of one or two meadows: patches, tufts, blades near by."""
    rng, unit = canvas.rng, canvas.height / 240
    (shaded, lit), (_, other) = rng.choice(_MEADOWS, 2)
    top, covered = _under(canvas, line)
    metre, away, across = canvas.ground(top)
    offset = rng.uniform(0, 512, 2).astype(np.float32)
    patches = sample_tile(noise_tile(1.5), away * 1.2 + offset[0], across * 3.0 + offset[1])
    tufts = sample_tile(noise_tile(0.9), away * 9.0 + offset[1], across * 26.0 + offset[0])
    # Blades are upright strokes: noise that is fine across and long along.
    blades = noise(rng, len(covered), canvas.width, 10.0 * unit, octaves=2, gain=0.9, stretch=0.22)
    near = smoothstep(6.0 * unit, 60.0 * unit, metre)
    shade = 0.62 + 0.10 * patches + 0.09 * tufts * (0.5 + near) + 0.20 * blades * (0.25 + 0.75 * near)
    shade = np.clip(shade, 0.0, 1.25)[..., None]
    colours = mix(shaded + (lit - shaded) * shade, other * shade, smoothstep(0.2, 1.6, patches) * 0.5)
    colours = colours * (canvas.light.shade + canvas.light.sun * 0.72)
    canvas.paint(canvas.light.through(colours, away), covered, GRASS, top)


def _under(canvas: Canvas, line: Floats) -> tuple[int, Floats]:
    """Return the first row that is under a line of rows [W] somewhere, and the coverage below the line from it on."""
    top = int(np.clip(np.floor(line.min()) - 1, 0, canvas.height - 1))
    return top, np.clip(axes(canvas.height - top, 1)[0] + top - line + 0.5, 0.0, 1.0)


def paint_water(canvas: Canvas, shore: float, roughness: float) -> None:
    """Paint water below row ``shore`` that mirrors what is above; ``roughness`` is 0 for a pond, 1 for open sea."""
    rng, light, top = canvas.rng, canvas.light, int(np.ceil(shore))
    metre, away, across = canvas.ground(top)
    offset = rng.uniform(0, 512, 2).astype(np.float32)
    # Crests run across the view, hence the finer step along the depth.
    swell = sample_tile(noise_tile(1.4), away * 2.2 + offset[0], across * 2.0 + offset[1])
    ripple = sample_tile(noise_tile(1.0), away * 9.0 + offset[1], across * 7.0 + offset[0])
    # Far waves are smaller than a pixel and average out.
    seen = smoothstep(0.0, 9.0 * canvas.height / 240, metre) * 0.8 + 0.2
    slope = (0.55 * swell + 0.6 * ripple) * seen * np.float32(0.35 + 0.65 * roughness)

    # The slope of a wave moves the place that a pixel mirrors, mostly up and down.
    y, x = axes(canvas.height, canvas.width)
    y = y[top:]
    reach = slope * ((y - np.float32(shore)) * np.float32(0.10 + 0.30 * roughness) + np.float32(1.5))
    rows = np.clip(2 * np.float32(shore) - y + reach, 0, max(int(shore) - 1, 0)).astype(np.int32)
    mirrored = canvas.pixels[rows, np.clip(x + reach * 0.25, 0, canvas.width - 1).astype(np.int32)]
    deep = rng.choice(_DEEP) * (light.shade + light.sun * 0.8) * 1.15 * (1.0 + 0.22 * slope)[..., None]
    # Flat angles mirror more (Fresnel): far water shows the sky, near water its own colour.
    grazing = np.exp(-(y - np.float32(canvas.horizon)) / np.float32(0.55 * canvas.height))
    colours = mix(deep, mirrored, np.clip(0.30 + 0.55 * grazing - 0.16 * slope, 0.08, 0.92))
    crest = smoothstep(1.35, 2.4, slope + 0.35 * swell) * np.float32(0.25 + 0.5 * roughness)
    canvas.paint(mix(colours, light.haze + 0.2 * light.sun, crest), np.ones(slope.shape, np.float32), WATER, top)
