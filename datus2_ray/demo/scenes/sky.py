"""Skies: a gradient from the horizon up, clouds on a plane far above, and the light of the hour of the day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from datus2_ray.demo.scenes.canvas import SKY, Canvas, Colour, Light, rgb
from datus2_ray.demo.scenes.noise import Floats, noise_tile, sample_tile, smoothstep


@dataclass(frozen=True)
class Mood:
    """An hour and a weather: colours of sky, light and clouds, and the share of clouds (min, max)."""

    zenith: Colour
    low: Colour
    sun: Colour
    shade: Colour
    cloud: Colour
    cloud_shade: Colour
    cover: tuple[float, float]
    visibility: float
    elevation: float


MOODS = {
    "clear": Mood(
        rgb(0.22, 0.44, 0.78), rgb(0.72, 0.84, 0.94), rgb(0.86, 0.80, 0.68), rgb(0.38, 0.42, 0.50),
        rgb(1.00, 0.99, 0.97), rgb(0.70, 0.76, 0.84), (0.10, 0.35), 900.0, 0.75,
    ),
    "fair": Mood(
        rgb(0.30, 0.50, 0.80), rgb(0.78, 0.86, 0.93), rgb(0.78, 0.74, 0.64), rgb(0.42, 0.45, 0.52),
        rgb(0.99, 0.98, 0.96), rgb(0.62, 0.67, 0.75), (0.40, 0.65), 700.0, 0.70,
    ),
    "overcast": Mood(
        rgb(0.55, 0.60, 0.66), rgb(0.80, 0.82, 0.84), rgb(0.26, 0.26, 0.26), rgb(0.66, 0.68, 0.72),
        rgb(0.86, 0.87, 0.88), rgb(0.58, 0.61, 0.65), (0.75, 0.95), 350.0, 0.85,
    ),
    "golden": Mood(
        rgb(0.34, 0.47, 0.70), rgb(0.98, 0.80, 0.56), rgb(1.00, 0.72, 0.40), rgb(0.34, 0.34, 0.44),
        rgb(1.00, 0.86, 0.66), rgb(0.66, 0.56, 0.60), (0.25, 0.60), 500.0, 0.30,
    ),
    "dusk": Mood(
        rgb(0.24, 0.28, 0.50), rgb(0.96, 0.62, 0.50), rgb(0.80, 0.48, 0.36), rgb(0.32, 0.32, 0.44),
        rgb(0.94, 0.62, 0.54), rgb(0.40, 0.36, 0.48), (0.30, 0.70), 420.0, 0.22,
    ),
}  # fmt: skip


def make_light(rng: np.random.Generator, mood: Mood) -> Light:
    """Return light from the left or right, at the height of the hour."""
    side = rng.choice([-1.0, 1.0]) * rng.uniform(0.35, 0.8)
    direction = np.array([side, mood.elevation, rng.uniform(0.25, 0.6)], np.float32)
    return Light(direction / np.linalg.norm(direction), mood.sun, mood.shade, mood.low * 0.96, mood.visibility)


def paint_sky(canvas: Canvas, mood: Mood) -> None:
    """Paint sky down to the horizon."""
    rng, height, width = canvas.rng, canvas.height, canvas.width
    rows = min(int(canvas.horizon) + 4, height)
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    up = np.clip((canvas.horizon - y) / np.float32(0.62 * height), 0.0, 1.0)
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    sky = mood.low + (mood.zenith * tint - mood.low) * (up**0.65)[..., None]

    # The sun itself is mostly outside the picture; its glow is not.
    sun_x = (0.5 + 0.75 * canvas.light.direction[0]) * width
    sun_y = canvas.horizon - mood.elevation * 0.8 * height
    glow = np.exp(-(((x - sun_x) / width) ** 2 + ((y - sun_y) / height) ** 2) * 6.0).astype(np.float32)
    sky = sky + (glow * np.float32(0.35))[..., None] * (mood.sun - 0.25)

    density, lit = _clouds(canvas, mood, rows)
    colours = mood.cloud_shade + (mood.cloud - mood.cloud_shade) * lit[..., None]
    # Far clouds take the colour of the air.
    colours = colours + (mood.low - colours) * ((1.0 - up) ** 4)[..., None] * 0.8
    sky = sky + density[..., None] * (colours - sky)
    canvas.paint(sky, np.ones((rows, width), np.float32), SKY)


def _clouds(canvas: Canvas, mood: Mood, rows: int) -> tuple[Floats, Floats]:
    """Return the coverage and the brightness of clouds, both [rows, W] in [0, 1]."""
    rng, height, width = canvas.rng, canvas.height, canvas.width
    # Clouds are soft: every second pixel is enough.
    y = np.arange(0, rows + 1, 2, dtype=np.float32)[:, None]
    x = np.arange(0, width + 1, 2, dtype=np.float32)[None, :]
    # A plane overhead, flattened so that clouds near the horizon do not become mere lines.
    depth = 1.0 / (np.maximum(canvas.horizon - y, 0.0) / height + 0.16)
    size = rng.uniform(14.0, 30.0)
    u = ((x - width / 2) / width * depth * size + rng.uniform(0, 512)).astype(np.float32)
    v = (depth * size * rng.uniform(0.8, 1.4) + rng.uniform(0, 512)).astype(np.float32) + np.zeros_like(u)
    tile, detail = noise_tile(1.7), noise_tile(1.2)

    def thickness(du: float, dv: float) -> Floats:
        coarse = sample_tile(tile, v * 1.2 + dv, u * 1.2 + du)
        fine = sample_tile(detail, v * 6.0 + dv * 5, u * 6.0 + du * 5)
        summed: Floats = coarse + np.float32(0.22) * fine
        return summed

    cover = rng.uniform(*mood.cover)
    # Mapped from the share of sky to a threshold of a normal distribution, roughly.
    threshold = 1.5 - 2.6 * cover
    here = thickness(0.0, 0.0)
    towards_sun = thickness(1.6 * float(canvas.light.direction[0]), 1.2)
    density = smoothstep(threshold, threshold + 1.0, here) * np.float32(0.95)
    lit = np.clip(0.72 + 0.55 * (here - towards_sun) - 0.16 * np.maximum(here - threshold - 0.8, 0.0), 0.0, 1.0)
    return _doubled(density, rows, width), _doubled(lit, rows, width)


def _doubled(values: Floats, rows: int, columns: int) -> Floats:
    box = (0, 0, columns / 2, rows / 2)
    return np.asarray(Image.fromarray(values).resize((columns, rows), Image.Resampling.BILINEAR, box))
