"""Trees and bushes: crowns of many lit lumps of leaves over branches, and conifers in tiers."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes.canvas import Colour, Light, Sprite, rgb
from datus2_ray.demo.scenes.noise import Floats, fractal_noise, smoothstep, value_noise

# Colours of leaves and needles, lit and in the shade of the crown.
_LEAVES: tuple[tuple[Colour, Colour], ...] = (
    (rgb(0.34, 0.50, 0.16), rgb(0.06, 0.14, 0.05)), (rgb(0.26, 0.44, 0.18), rgb(0.05, 0.13, 0.07)),
    (rgb(0.42, 0.52, 0.20), rgb(0.10, 0.17, 0.05)), (rgb(0.20, 0.38, 0.20), rgb(0.04, 0.11, 0.07)),
    (rgb(0.72, 0.52, 0.16), rgb(0.24, 0.13, 0.05)), (rgb(0.70, 0.34, 0.14), rgb(0.22, 0.09, 0.05)),
)  # fmt: skip
_NEEDLES: tuple[tuple[Colour, Colour], ...] = (
    (rgb(0.20, 0.36, 0.22), rgb(0.03, 0.09, 0.06)), (rgb(0.26, 0.38, 0.18), rgb(0.05, 0.11, 0.05)),
    (rgb(0.24, 0.38, 0.32), rgb(0.05, 0.12, 0.11)),
)  # fmt: skip
_BARKS = (rgb(0.36, 0.27, 0.19), rgb(0.30, 0.26, 0.22), rgb(0.72, 0.70, 0.66), rgb(0.26, 0.19, 0.14))


def broadleaf(rng: np.random.Generator, light: Light, height: float) -> Sprite:
    """Draw an oak, a poplar or something between, ``height`` pixels tall."""
    slim = rng.uniform(0.42, 0.95)
    stem = rng.uniform(0.16, 0.34)
    h, w = max(int(height), 6), max(int(height * slim * 1.15), 6)
    lit, shaded = _LEAVES[int(rng.choice(6, p=[0.28, 0.24, 0.18, 0.14, 0.09, 0.07]))]
    colours, alpha = _crown(rng, light, h, w, 0.0, 1.0 - stem, 0.46 * slim * h, lit, shaded)
    return _on_trunk(rng, light, colours, alpha, (1.0 - stem) * h)


def bush(rng: np.random.Generator, light: Light, height: float) -> Sprite:
    """Draw a bush, ``height`` pixels tall, wider than tall and leafy down to the ground."""
    h, w = max(int(height), 4), max(int(height * rng.uniform(1.3, 2.0)), 6)
    lit, shaded = _LEAVES[rng.integers(4)]
    colours, alpha = _crown(rng, light, h, w, 0.0, 1.1, 0.46 * w, lit, shaded)
    return Sprite(colours, alpha, w / 2)


def _crown(
    rng: np.random.Generator,
    light: Light,
    h: int,
    w: int,
    top: float,
    bottom: float,
    half_width: float,
    lit: Colour,
    shaded: Colour,
) -> tuple[Floats, Floats]:
    """Draw overlapping lumps of leaves in an ellipse between rows ``top`` and ``bottom``, shares of h."""
    y = np.arange(h, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None, :]
    middle, half_height = (top + bottom) / 2 * h, (bottom - top) / 2 * h
    # Smaller trees get fewer lumps: they could not be told apart.
    count = int(np.clip(h * 0.22, 7, 26))
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count)) * 0.68
    lump_x = w / 2 + np.cos(angle) * distance * half_width
    lump_y = middle + np.sin(angle) * distance * half_height
    radius = rng.uniform(0.26, 0.42, count) * np.sqrt(half_width * half_height)
    ragged = fractal_noise(rng, h, w, max(h * 0.07, 2.0), octaves=3, gain=0.75)
    front = np.full((h, w), -np.inf, np.float32)
    lump = np.zeros((h, w), np.int8)
    edge = np.full((h, w), -np.inf, np.float32)
    # Lower lumps hang in front of upper ones, as one sees a crown from below.
    for i in np.argsort(lump_y):
        r = np.float32(radius[i])
        box = tuple(
            slice(max(int(centre - 1.8 * r), 0), max(int(centre + 1.8 * r) + 1, 0)) for centre in (lump_y[i], lump_x[i])
        )
        dx, dy = x[:, box[1]] - np.float32(lump_x[i]), y[box[0]] - np.float32(lump_y[i])
        reach = r * (1.0 + 0.20 * ragged[box])
        squared = dx * dx + dy * dy
        inside = reach - np.sqrt(squared)
        np.maximum(edge[box], inside, out=edge[box])
        z = np.sqrt(np.maximum(reach**2 - squared, 0.0)) + r * np.float32(0.3 * rng.random())
        nearer = (inside > 0) & (z > front[box])
        front[box][nearer] = z[nearer]
        lump[box][nearer] = i
    r = radius.astype(np.float32)[lump]
    normal_x, normal_y = (x - lump_x.astype(np.float32)[lump]) / r, (lump_y.astype(np.float32)[lump] - y) / r
    normal_z = np.maximum(front, 0.0) / r
    tone = rng.uniform(-0.12, 0.12, count).astype(np.float32)[lump]
    # Leaves stay small, however near the tree.
    leaves = value_noise(rng, h, w, float(np.clip(h * 0.018, 1.0, 2.0)))
    leaves = leaves + value_noise(rng, h, w, float(np.clip(h * 0.04, 1.6, 4.5)))
    length = np.sqrt(normal_x**2 + normal_y**2 + normal_z**2) + np.float32(1e-3)
    crown_x = (x - w / 2) / np.float32(half_width)
    crown_y = (middle - y) / np.float32(half_height)
    # Half the lump's own roundness, half the crown's: the side away from the sun is dark as a whole.
    factors = light.on(
        np.clip(0.6 * normal_x / length + 0.5 * crown_x, -1, 1),
        np.clip(0.6 * normal_y / length + 0.5 * crown_y, -1, 1),
        np.clip(0.7 * normal_z / length, 0, 1),
    )
    share = np.clip(0.52 + 0.20 * leaves + tone + 0.22 * crown_y + 0.10 * ragged, 0.0, 1.15)[..., None]
    colours = (shaded + (lit - shaded) * share) * factors * np.float32(1.25)
    alpha = np.clip(edge * 0.9 + 0.6 * leaves * smoothstep(0.16 * float(radius.mean()), 0.0, edge) + 0.2, 0.0, 1.0)
    return colours.astype(np.float32), alpha.astype(np.float32)


def _on_trunk(rng: np.random.Generator, light: Light, crown: Floats, crown_alpha: Floats, crown_base: float) -> Sprite:
    """Draw a trunk with two or three boughs behind a crown."""
    h, w = crown_alpha.shape
    y = np.arange(h, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None, :]
    bark = _BARKS[int(rng.choice(4, p=[0.4, 0.3, 0.1, 0.2]))]
    lean = rng.uniform(-0.04, 0.04) * w
    half = max(h * rng.uniform(0.018, 0.034), 0.7)
    rise = (h - y) / h
    centre = w / 2 + lean * np.sin(rise * 3.0)
    # The trunk widens at its foot and thins towards the crown.
    thickness = half * (1.0 - 0.55 * rise + 0.9 * np.exp(-rise * 16.0))
    across = (x - centre) / thickness
    trunk = np.clip((1.0 - np.abs(across)) * thickness + 0.5, 0.0, 1.0) * (y > crown_base * 0.35)
    for side in rng.permutation([-1.0, 1.0, 0.5])[: int(rng.integers(2, 4))]:
        start = crown_base * rng.uniform(0.85, 1.02)
        bough = centre + side * (start - y) * rng.uniform(0.45, 0.85)
        thin = np.maximum(half * 0.5 * (1.0 - (start - y) / h * 2.0), 0.0)
        within = (y < start) & (crown_alpha > 0.05)
        trunk = np.maximum(trunk, np.clip(thin - np.abs(x - bough) + 0.4, 0.0, 1.0) * within)
    grain = value_noise(rng, h, w, max(h * 0.05, 1.5), stretch=0.2)
    facing = np.clip(across, -1.0, 1.0)
    factors = light.on(facing, np.zeros_like(facing), np.sqrt(1.0 - facing**2))
    wood = bark * factors * (0.9 + 0.16 * grain)[..., None]
    under = smoothstep(crown_base + h * 0.10, crown_base - h * 0.05, y + np.zeros_like(x))[..., None]
    wood = wood * (1.0 - 0.5 * under)
    a = crown_alpha[..., None]
    alpha = crown_alpha + trunk * (1.0 - crown_alpha)
    return Sprite((crown * a + wood * (1 - a)).astype(np.float32), alpha.astype(np.float32), w / 2)


def conifer(rng: np.random.Generator, light: Light, height: float) -> Sprite:
    """Draw a spruce or fir, ``height`` pixels tall: tiers of hanging branches, dark under each tier."""
    h, w = max(int(height), 8), max(int(height * rng.uniform(0.36, 0.52)), 5)
    lit, shaded = _NEEDLES[rng.integers(len(_NEEDLES))]
    y = np.arange(h, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None, :]
    stem = rng.uniform(0.05, 0.12)
    down = y / (h * (1.0 - stem))
    side = (x - w / 2) / (w / 2)
    tiers = np.clip(h / 9.0, 4, 11)
    jag = fractal_noise(rng, h, w, max(h * 0.035, 1.5), octaves=3, gain=0.8)
    # Branches hang towards their tips, so a tier's edge lies lower outside.
    phase = (down * tiers - np.abs(side) * 0.55 + 0.16 * jag + 0.25 * np.sin(side * 5.0 + down * 9.0)) % 1.0
    half = np.clip(down, 0.0, 1.0) ** 0.9 * (0.62 + 0.38 * phase) * (1.0 + 0.10 * jag)
    inside = (half - np.abs(side)) * (w / 2)
    alpha = np.clip(inside + 0.5, 0.0, 1.0) * (down < 1.0 - 0.04 * jag)
    needles = value_noise(rng, h, w, 1.3) * 0.5 + value_noise(rng, h, w, max(h * 0.02, 1.2), stretch=2.0) * 0.7
    share = np.clip(0.16 + 0.62 * phase + 0.16 * needles + 0.12 * jag, 0.0, 1.15)[..., None]
    round_x = np.clip(side / np.maximum(half, 0.05), -1.0, 1.0)
    factors = light.on(round_x * 0.9, np.full_like(round_x, 0.25), np.sqrt(1.0 - round_x**2) * 0.9)
    colours = (shaded + (lit - shaded) * share) * factors * np.float32(1.2)
    trunk = np.clip(max(h * 0.018, 0.8) - np.abs(x - w / 2) + 0.5, 0.0, 1.0) * (down > 0.9)
    wood = _BARKS[3] * light.shade
    a = alpha[..., None]
    colours = colours * a + wood * (1 - a)
    return Sprite(colours.astype(np.float32), np.maximum(alpha, trunk).astype(np.float32), w / 2)
