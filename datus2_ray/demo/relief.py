"""Bodies of tapered capsules, seen from the side as a rounded and lit relief."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from datus2_ray.demo.canvas import Light, Sprite
from datus2_ray.demo.noise import Floats, axes

Point = tuple[float, float]


class Relief:
    """The union of capsules on a pixel grid: how near it is, how far inside its outline, which role is on top.

    Lengths are in units of ``unit`` pixels; x = 0 is the middle column, y = 0 the last row, y points up. ``ragged``
    [H, W] makes the radius of every capsule uneven.
    """

    def __init__(self, unit: float, ragged: Floats) -> None:
        height, width = ragged.shape
        self.unit, self.ragged = unit, ragged
        rows, columns = axes(height, width)
        self.y, self.x = (height - 1 - rows) / np.float32(unit), (columns - width / 2) / np.float32(unit)
        self.front = np.full((height, width), -9.0, np.float32)
        self.inside = np.full((height, width), -9.0, np.float32)
        self.role = np.zeros((height, width), np.uint8)

    def add(self, start: Point, end: Point, radii: Point, role: int, depth: float = 0.0) -> None:
        """Add a capsule from ``start`` to ``end``; its radius goes from the first to the second."""
        (x0, y0), (x1, y1) = start, end
        dx, dy = x1 - x0, y1 - y0
        reach = max(radii) * 1.6 + 1.5 / self.unit
        box = (
            slice(*np.searchsorted(-self.y[:, 0], [-max(y0, y1) - reach, -min(y0, y1) + reach])),
            slice(*np.searchsorted(self.x[0], [min(x0, x1) - reach, max(x0, x1) + reach])),
        )
        x, y = self.x[:, box[1]] - np.float32(x0), self.y[box[0]] - np.float32(y0)
        t = np.clip((x * np.float32(dx) + y * np.float32(dy)) / np.float32(max(dx * dx + dy * dy, 1e-6)), 0.0, 1.0)
        radius = (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])) * (1.0 + self.ragged[box])
        distance = np.hypot(x - t * np.float32(dx), y - t * np.float32(dy))
        z = np.sqrt(np.maximum(radius**2 - distance**2, 0.0)) + np.float32(depth)
        inside = radius - distance
        nearer = (inside > 0) & (z > self.front[box])
        self.front[box][nearer] = z[nearer]
        self.role[box][nearer] = role
        np.maximum(self.inside[box], inside, out=self.inside[box])

    def sprite(self, light: Light, colours: Floats, flipped: bool = False) -> Sprite:
        """Return the relief in colours [H, W, 3], lit, flipped or not."""
        alpha = np.clip(self.inside * np.float32(self.unit) + 0.5, 0.0, 1.0)
        relief = np.maximum(self.front, np.float32(-0.35))
        # Rounds the seams between capsules, not the outline.
        relief = ndimage.gaussian_filter(relief, max(self.unit * 0.024, 0.6), truncate=3.0) * np.float32(self.unit)
        slope_y, slope_x = np.clip(np.gradient(relief), -2.2, 2.2)
        length = np.sqrt(slope_x**2 + slope_y**2 + 1.0)
        # Flipped afterwards, hence lit from the other side.
        factors = light.on((slope_x if flipped else -slope_x) / length, slope_y / length, 1.0 / length)
        far = np.clip(1.0 + (self.front + 0.05) * 2.2, 0.55, 1.0)[..., None]
        lit: Floats = (colours * factors * far).astype(np.float32)
        step = -1 if flipped else 1
        return Sprite(lit[:, ::step], alpha[:, ::step], alpha.shape[1] / 2)
