"""Trees: crowns of many lit lumps of leaves on a trunk, and conifers in tiers."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.canvas import Light, Sprite, mix, palette
from datus2_ray.demo.noise import axes, noise
from datus2_ray.demo.relief import Relief

# Shaded and lit colour of leaves and needles.
_LEAVES = palette("0f240d 578029 0d2112 42702e 1a2b0d 6b8533 0a1c12 336133 3d210d b88529").reshape(-1, 2, 3)
_NEEDLES = palette("08170f 335c38 0d1c0d 42612e 0d1f1c 3d6152").reshape(-1, 2, 3)
_BARKS = palette("5c4530 4d4238 423024")


def broadleaf(rng: np.random.Generator, light: Light, height: float) -> Sprite:
    """Draw an oak, a poplar or something between, ``height`` pixels tall."""
    # Half the width of the crown and the length of the trunk, in units of the height.
    half, stem = rng.uniform(0.22, 0.46), rng.uniform(0.12, 0.34)
    h, w = int(height), max(int(height * half * 2.6), 6)
    ragged = noise(rng, h, w, max(h * 0.07, 2.0), octaves=3, gain=0.8)
    # Leaves stay small, however near the tree.
    leaves = noise(rng, h, w, float(np.clip(h * 0.035, 1.6, 4.0)), octaves=2, gain=1.0)
    relief = Relief(height, 0.16 * ragged + 0.10 * leaves)
    trunk, lean = rng.uniform(0.018, 0.034), rng.uniform(-0.04, 0.04)
    relief.add((0.0, -0.01), (lean, stem + 0.3), (trunk * 1.3, trunk * 0.6), 0, -0.3)
    # Smaller trees get fewer lumps: they could not be told apart.
    count, tall = int(np.clip(h * 0.22, 7, 26)), (1.0 - stem) / 2
    angle, distance = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count)) * 0.68
    lump_x, lump_y = np.cos(angle) * distance * half, 1.0 - tall + np.sin(angle) * distance * tall
    radius = rng.uniform(0.26, 0.42, count) * np.sqrt(half * tall)
    # The middle of a crown is nearer than its rim.
    depth = half * (0.8 * np.sqrt(1.0 - distance**2) + rng.uniform(-0.15, 0.15, count))
    for i, (x, y, r, z) in enumerate(np.stack([lump_x, lump_y, radius, depth], axis=1).tolist()):
        relief.add((x, y), (x, y), (r, r), i + 1, z)
    tone = np.append(0.0, rng.uniform(-0.12, 0.12, count))[relief.role]
    shaded, lit = rng.choice(_LEAVES, p=[0.28, 0.24, 0.20, 0.16, 0.12])
    share = 0.50 + 0.20 * leaves + tone + 0.22 * (relief.y - 1.0 + tall) / tall + 0.10 * ragged
    foliage = mix(shaded, lit, np.clip(share, 0.0, 1.15)) * 1.25
    wood = rng.choice(_BARKS) * (0.9 + 0.16 * noise(rng, h, w, max(h * 0.05, 1.5), stretch=0.2))[..., None]
    return relief.sprite(light, np.where((relief.role > 0)[..., None], foliage, wood))


def conifer(rng: np.random.Generator, light: Light, height: float) -> Sprite:
    """Draw a spruce or fir, ``height`` pixels tall: tiers of hanging branches, dark under each tier."""
    h, w = max(int(height), 8), max(int(height * rng.uniform(0.36, 0.52)), 5)
    y, x = axes(h, w)
    down, side = y / (h * (1.0 - rng.uniform(0.05, 0.12))), (x - w / 2) / (w / 2)
    jag = noise(rng, h, w, max(h * 0.035, 1.5), octaves=3, gain=0.8)
    # Branches hang towards their tips, so a tier's edge lies lower outside.
    tiers = down * np.clip(h / 9.0, 4, 11)
    phase = (tiers - np.abs(side) * 0.55 + 0.16 * jag + 0.25 * np.sin(side * 5.0 + down * 9.0)) % 1.0
    half = np.clip(down, 0.0, 1.0) ** 0.9 * (0.62 + 0.38 * phase) * (1.0 + 0.10 * jag)
    alpha = np.clip((half - np.abs(side)) * (w / 2) + 0.5, 0.0, 1.0) * (down < 1.0 - 0.04 * jag)
    needles = noise(rng, h, w, max(h * 0.02, 1.3), octaves=2, gain=0.9, stretch=1.5)
    shaded, lit = rng.choice(_NEEDLES)
    colours = mix(shaded, lit, np.clip(0.16 + 0.62 * phase + 0.18 * needles + 0.12 * jag, 0.0, 1.15))
    turned = np.clip(side / np.maximum(half, 0.05), -1.0, 1.0)
    factors = light.on(turned * 0.9, np.full_like(turned, 0.25), np.sqrt(1.0 - turned**2) * 0.9)
    trunk = np.clip(max(h * 0.018, 0.8) - np.abs(x - w / 2) + 0.5, 0.0, 1.0) * (down > 0.9)
    colours = mix(_BARKS[2] * light.shade, colours * factors * 1.2, alpha)
    return Sprite(colours.astype(np.float32), np.maximum(alpha, trunk).astype(np.float32), w / 2)
