"""Skies: a gradient from the horizon up, clouds on a plane far above, and the light of the hour of the day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.demo.canvas import SKY, Canvas, Light, mix, palette
from datus2_ray.demo.noise import Floats, axes, noise_tile, resize, sample_tile, smoothstep


@dataclass(frozen=True)
class Mood:
    """An hour and a weather: colours of zenith, horizon, sun, shade, clouds and their shade; the share of clouds."""

    chance: float
    colours: Floats
    cover: tuple[float, float]
    visibility: float
    elevation: float


_MOODS = (
    Mood(0.28, palette("3870c7 b8d6f0 dbccad 616b80 fffcf7 b3c2d6"), (0.10, 0.35), 900.0, 0.75),  # clear
    Mood(0.30, palette("4d80cc c7dbed c7bda3 6b7385 fcfaf5 9eabbf"), (0.40, 0.65), 700.0, 0.70),  # fair
    Mood(0.18, palette("8c99a8 ccd1d6 424242 a8adb8 dbdee0 949ca6"), (0.75, 0.95), 350.0, 0.85),  # overcast
    Mood(0.16, palette("5778b3 facc8f ffb866 575770 ffdba8 a88f99"), (0.25, 0.60), 500.0, 0.30),  # golden
    Mood(0.08, palette("3d4780 f59e80 cc7a5c 525270 f09e8a 665c7a"), (0.30, 0.70), 420.0, 0.22),  # dusk
)


def draw_mood(rng: np.random.Generator) -> tuple[Mood, Light]:
    """Return a mood and its light, from the left or the right, at the height of the hour."""
    mood = _MOODS[int(rng.choice(len(_MOODS), p=[mood.chance for mood in _MOODS]))]
    side = rng.choice([-1.0, 1.0]) * rng.uniform(0.35, 0.8)
    direction = np.array([side, mood.elevation, rng.uniform(0.25, 0.6)], np.float32)
    _, low, sun, shade, _, _ = mood.colours
    return mood, Light(direction / np.linalg.norm(direction), sun, shade, low * np.float32(0.96), mood.visibility)


def paint_sky(canvas: Canvas, mood: Mood) -> None:
    """Paint sky down to the horizon."""
    rng, height, width = canvas.rng, canvas.height, canvas.width
    zenith, low, sun, _, cloud, cloud_shade = mood.colours
    rows = min(int(canvas.horizon) + 4, height)
    y, x = axes(rows, width)
    up = np.clip((canvas.horizon - y) / np.float32(0.62 * height), 0.0, 1.0)
    sky = mix(low, zenith * rng.uniform(0.95, 1.05, 3).astype(np.float32), up**0.65)
    # The sun itself is outside the picture; its glow is not.
    glow = np.exp(-(((x / width - 0.5 - 0.75 * canvas.light.direction[0]) ** 2 + (up - 0.8) ** 2) * 6.0))
    sky = sky + (glow * np.float32(0.35))[..., None] * (sun - 0.25)
    density, lit = _clouds(canvas, mood, rows)
    # Far clouds take the colour of the air.
    clouds = mix(mix(cloud_shade, cloud, lit), low, 0.8 * (1.0 - up) ** 4)
    canvas.paint(mix(sky, clouds, density), np.ones((rows, width), np.float32), SKY)


def _clouds(canvas: Canvas, mood: Mood, rows: int) -> tuple[Floats, Floats]:
    """Return the coverage and the brightness of clouds, both [rows, W] in [0, 1]."""
    rng, height, width = canvas.rng, canvas.height, canvas.width
    # Clouds are soft: every second pixel is enough.
    y, x = (2 * axis for axis in axes((rows + 1) // 2, (width + 1) // 2))
    # A plane overhead, flattened so that clouds near the horizon do not become mere lines.
    depth = 1.0 / (np.maximum(canvas.horizon - y, 0.0) / height + 0.16) * rng.uniform(14.0, 30.0)
    u = (x - width / 2) / width * depth + rng.uniform(0, 512)
    v = depth * rng.uniform(0.8, 1.4) + rng.uniform(0, 512)

    def thickness(du: float, dv: float) -> Floats:
        coarse = sample_tile(noise_tile(1.7), v * 1.2 + dv, u * 1.2 + du)
        fine: Floats = np.float32(0.22) * sample_tile(noise_tile(1.2), v * 6.0 + dv * 5, u * 6.0 + du * 5)
        return coarse + fine

    threshold = 1.5 - 2.6 * rng.uniform(*mood.cover)
    overhead = thickness(0.0, 0.0)
    relief = overhead - thickness(1.6 * float(canvas.light.direction[0]), 1.2)
    density = smoothstep(threshold, threshold + 1.0, overhead) * 0.95
    lit = np.clip(0.72 + 0.55 * relief - 0.16 * np.maximum(overhead - threshold - 0.8, 0.0), 0.0, 1.0)
    return resize(density, rows, width), resize(lit, rows, width)
