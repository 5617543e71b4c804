"""Grass to stand on and hills to end the view: textures laid on the ground plane, so that they shrink with distance."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes.canvas import ANIMAL, GRASS, TREE, Canvas, Colour, rgb
from datus2_ray.demo.scenes.noise import Floats, fractal_noise, noise_tile, sample_tile, smoothstep, value_noise

__all__ = ["MEADOWS", "paint_fringe", "paint_grass", "paint_ridge", "ridge_line"]

# Lit and shaded colour of a meadow.
MEADOWS: tuple[tuple[Colour, Colour], ...] = (
    (rgb(0.44, 0.60, 0.20), rgb(0.16, 0.30, 0.08)),
    (rgb(0.36, 0.56, 0.22), rgb(0.12, 0.28, 0.10)),
    (rgb(0.56, 0.62, 0.26), rgb(0.26, 0.32, 0.10)),
    (rgb(0.70, 0.64, 0.34), rgb(0.36, 0.32, 0.14)),
    (rgb(0.30, 0.50, 0.16), rgb(0.10, 0.22, 0.06)),
)
_FLOWERS = (rgb(1.08, 1.01, 0.38), rgb(1.07, 1.06, 1.03), rgb(0.88, 0.50, 0.86), rgb(1.01, 0.31, 0.24))


def ridge_line(canvas: Canvas, level: float, amplitude: float, cell: float) -> Floats:
    """Draw a hill's outline, a row for every column [W], around ``level``; ``cell`` is a share of the width."""
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
    """Let blades of grass hide the feet of the animal at (column, base), in the colours of the ground below it."""
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
    """Give the first row that lies under a line of rows [W] somewhere."""
    return int(np.clip(np.floor(line.min()) - 1, 0, canvas.height - 1))


def _under(canvas: Canvas, line: Floats) -> Floats:
    """Cover everything under a line of rows [W], from its top row on; the edge is one pixel soft."""
    y = np.arange(_top(canvas, line), canvas.height, dtype=np.float32)[:, None]
    covered: Floats = np.clip(y - line[None, :] + 0.5, 0.0, 1.0)
    return covered
