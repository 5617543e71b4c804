"""Grass, hills and water: textures on the ground plane, which shrink with distance."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes.canvas import ANIMAL, GRASS, TREE, WATER, Canvas, Colour, rgb
from datus2_ray.demo.scenes.noise import Floats, fractal_noise, noise_tile, sample_tile, smoothstep, value_noise

# Lit and shaded colour of a meadow.
MEADOWS: tuple[tuple[Colour, Colour], ...] = (
    (rgb(0.44, 0.60, 0.20), rgb(0.16, 0.30, 0.08)),
    (rgb(0.36, 0.56, 0.22), rgb(0.12, 0.28, 0.10)),
    (rgb(0.56, 0.62, 0.26), rgb(0.26, 0.32, 0.10)),
    (rgb(0.70, 0.64, 0.34), rgb(0.36, 0.32, 0.14)),
    (rgb(0.30, 0.50, 0.16), rgb(0.10, 0.22, 0.06)),
)
_DEEP: tuple[Colour, ...] = (
    rgb(0.08, 0.22, 0.34), rgb(0.10, 0.28, 0.32), rgb(0.06, 0.18, 0.30), rgb(0.14, 0.26, 0.26), rgb(0.07, 0.30, 0.42),
)  # fmt: skip
_FLOWERS = (rgb(1.08, 1.01, 0.38), rgb(1.07, 1.06, 1.03), rgb(0.88, 0.50, 0.86), rgb(1.01, 0.31, 0.24))


def ridge_line(canvas: Canvas, level: float, amplitude: float, cell: float) -> Floats:
    """Return the outline of a hill, rows [W] around ``level``; ``cell`` is a share of the width."""
    line = fractal_noise(canvas.rng, 1, canvas.width, cell * canvas.width, octaves=4, gain=0.45)[0]
    rows: Floats = np.float32(level) - np.float32(amplitude) * line
    return rows


def paint_ridge(canvas: Canvas, line: Floats, distance: float, wooded: bool) -> None:
    """Paint a far hill below a line of rows [W], in meadows or in woods, ``distance`` metres away."""
    rng, width = canvas.rng, canvas.width
    if wooded:
        bumps = fractal_noise(rng, 1, width, 5.0, octaves=3, gain=0.7)[0]
        line = line - np.abs(bumps) * np.float32(canvas.height * 0.008)
        lit, shaded, grain = rgb(0.26, 0.40, 0.20), rgb(0.08, 0.17, 0.09), 3.5
    else:
        lit, shaded = MEADOWS[rng.integers(len(MEADOWS))]
        grain = 14.0
    # The ground plane or water covers what is farther down.
    top, bottom = _top(canvas, line), min(int(max(canvas.horizon, line.max())) + 8, canvas.height)
    texture = fractal_noise(rng, bottom - top, width, grain, octaves=3, gain=0.8, stretch=1.8)
    fields = fractal_noise(rng, bottom - top, width, canvas.height * 0.12, octaves=2, stretch=3.0)
    shade = np.clip(0.55 + 0.16 * texture + 0.14 * fields, 0.0, 1.0)[..., None]
    colours = (shaded + (lit - shaded) * shade) * (canvas.light.shade + canvas.light.sun * 0.6)
    alpha = _under(canvas, line)[: bottom - top]
    canvas.paint(canvas.light.through(colours, distance), alpha, TREE if wooded else GRASS, top)


def paint_grass(canvas: Canvas, line: Floats, meadow: int) -> None:
    """Cover the ground below a line of rows [W] with grass: patches, tufts, blades near by, sometimes flowers."""
    rng, unit, top = canvas.rng, canvas.height / 240, _top(canvas, line)
    lit, shaded = MEADOWS[meadow]
    other, _ = MEADOWS[rng.integers(len(MEADOWS))]
    metre, across, away = canvas.ground(top)
    height, width = away.shape
    offset = rng.uniform(0, 512, 2).astype(np.float32)
    patches = sample_tile(noise_tile(1.5), away * 1.2 + offset[0], across * 3.0 + offset[1])
    tufts = sample_tile(noise_tile(0.9), away * 9.0 + offset[1], across * 26.0 + offset[0])
    # Blades are upright strokes: noise that is fine across and long along.
    blades = value_noise(rng, height, width, 7.0 * unit, stretch=0.2)
    blades = (blades + value_noise(rng, height, width, 12.0 * unit, stretch=0.28)) * np.float32(0.7)
    near = smoothstep(6.0 * unit, 60.0 * unit, metre)
    shade = 0.62 + 0.10 * patches + 0.09 * tufts * (0.5 + near) + 0.20 * blades * (0.25 + 0.75 * near)
    colours = shaded + (lit - shaded) * np.clip(shade, 0.0, 1.25)[..., None]
    mixed = smoothstep(0.2, 1.6, patches)[..., None] * np.float32(0.5)
    colours = colours + mixed * (other * np.clip(shade + 0.1, 0.0, 1.2)[..., None] - colours)
    if rng.random() < 0.4:
        dots = value_noise(rng, height, width, max(1.6 * unit, 1.0)) > 2.35
        clusters = fractal_noise(rng, height, width, 36.0 * unit, octaves=2, stretch=2.5) > 0.1
        shown = (dots & clusters & (metre > 3.0))[..., None]
        colours = np.where(shown, _FLOWERS[rng.integers(len(_FLOWERS))], colours)
    colours = colours * (canvas.light.shade + canvas.light.sun * 0.72)
    canvas.paint(canvas.light.through(colours, (width / metre)[..., None]), _under(canvas, line), GRASS, top)


def paint_fringe(canvas: Canvas, column: float, base: float, width: float) -> None:
    """Paint blades of grass over the feet of the animal at (column, base), in the colours of the ground below."""
    blade = max(canvas.metre(base) * 0.20, 2.0)
    h, w = int(blade * 1.5) + 2, int(width) + 2
    tips = 0.30 + 0.30 * value_noise(canvas.rng, 1, w, max(blade * 0.25, 1.0))[0]
    tips = tips + 0.25 * value_noise(canvas.rng, 1, w, blade * 2)[0]
    y = np.arange(h, dtype=np.float32)[:, None]
    top, left = round(base) - h, round(column - w / 2)
    rows = np.clip(np.arange(top, top + h), 0, canvas.height - 1)[:, None]
    columns = np.clip(np.arange(left, left + w), 0, canvas.width - 1)
    feet = canvas.labels[rows, columns] == ANIMAL
    alpha = np.clip(y - h + np.float32(blade) * np.clip(tips, 0.0, 1.4)[None, :], 0.0, 1.0) * feet
    below = np.minimum(rows + h, canvas.height - 1)
    canvas.paint(canvas.pixels[below, columns], alpha, GRASS, top, left)


def _top(canvas: Canvas, line: Floats) -> int:
    """Return the first row that is under a line of rows [W] somewhere."""
    return int(np.clip(np.floor(line.min()) - 1, 0, canvas.height - 1))


def _under(canvas: Canvas, line: Floats) -> Floats:
    """Return the coverage below a line of rows [W], from its top row on; the edge is one pixel soft."""
    y = np.arange(_top(canvas, line), canvas.height, dtype=np.float32)[:, None]
    covered: Floats = np.clip(y - line[None, :] + 0.5, 0.0, 1.0)
    return covered


def paint_water(canvas: Canvas, shore: float, roughness: float) -> None:
    """Paint water below row ``shore`` that mirrors what is above; ``roughness`` is 0 for a pond, 1 for open sea."""
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
    """Return what each pixel mirrors; the slope of a wave moves the place mostly up and down."""
    x = np.arange(canvas.width, dtype=np.float32)[None, :]
    reach = (y - np.float32(shore)) * np.float32(0.10 + 0.30 * roughness) + np.float32(1.5)
    rows = np.clip(2 * np.float32(shore) - y + slope * reach, 0, max(int(shore) - 1, 0)).astype(np.int32)
    columns = np.clip(x + slope * reach * 0.25, 0, canvas.width - 1).astype(np.int32)
    mirrored: Floats = canvas.pixels[rows, columns]
    return mirrored
