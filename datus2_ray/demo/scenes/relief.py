"""Bodies of tapered capsules, seen from the side as a rounded and lit relief."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from datus2_ray.demo.scenes.canvas import Light, Sprite
from datus2_ray.demo.scenes.noise import Floats
from datus2_ray.demo.scenes.species import Coat

# Which colour of the coat a capsule wears.
BODY, LIMB, BELLY, DARK = range(4)

Point = tuple[float, float]


class Relief:
    """The union of capsules on a pixel grid: how near it is, how far inside its outline, which colour is on top.

    Lengths are in units of ``unit`` pixels; x = 0 is the middle column, y = 0 the last row, y points up. ``ragged``
    [H, W] makes the radius of every capsule uneven.
    """

    def __init__(self, height: int, width: int, unit: float, ragged: Floats) -> None:
        self.unit, self.ragged = unit, ragged
        self.y = ((height - 1 - np.arange(height, dtype=np.float32)) / np.float32(unit))[:, None]
        self.x = ((np.arange(width, dtype=np.float32) - width / 2) / np.float32(unit))[None, :]
        self.front = np.full((height, width), -9.0, np.float32)
        self.inside = np.full((height, width), -9.0, np.float32)
        self.role = np.zeros((height, width), np.uint8)

    def add(self, start: Point, end: Point, radii: Point, role: int, depth: float = 0.0) -> None:
        """Add a capsule from ``start`` to ``end``; its radius goes from the first to the second."""
        (x0, y0), (x1, y1) = start, end
        dx, dy = x1 - x0, y1 - y0
        reach = max(radii) * 1.3 + 1.5 / self.unit
        rows, columns = self.y[:, 0], self.x[0]
        box = (
            slice(*np.searchsorted(-rows, [-max(y0, y1) - reach, -min(y0, y1) + reach])),
            slice(*np.searchsorted(columns, [min(x0, x1) - reach, max(x0, x1) + reach])),
        )
        x, y = self.x[:, box[1]] - np.float32(x0), self.y[box[0]] - np.float32(y0)
        t = np.clip((x * np.float32(dx) + y * np.float32(dy)) / np.float32(max(dx * dx + dy * dy, 1e-6)), 0.0, 1.0)
        radius = (np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])) * (1.0 + self.ragged[box])
        squared = (x - t * np.float32(dx)) ** 2 + (y - t * np.float32(dy)) ** 2
        z = np.sqrt(np.maximum(radius**2 - squared, 0.0)) + np.float32(depth)
        inside = radius - np.sqrt(squared)
        nearer = (inside > 0) & (z > self.front[box])
        self.front[box][nearer] = z[nearer]
        self.role[box][nearer] = role
        np.maximum(self.inside[box], inside, out=self.inside[box])

    def sprite(self, light: Light, coat: Coat, tint: Floats, paint: Floats, flipped: bool) -> Sprite:
        """Return the lit relief, coloured by coat times ``tint`` [3] times ``paint`` [H, W, 3], flipped or not."""
        alpha = np.clip(self.inside * np.float32(self.unit) + 0.5, 0.0, 1.0)
        lowest = np.float32(-0.35)
        relief = np.where(self.inside > 0, np.maximum(self.front, lowest), lowest)
        # Rounds the seams between capsules, not the outline.
        relief = ndimage.gaussian_filter(relief, max(self.unit * 0.024, 0.6), truncate=3.0) * np.float32(self.unit)
        slope_y, slope_x = np.gradient(relief)
        limit = np.float32(2.2)
        nx, ny = np.clip(-slope_x, -limit, limit), np.clip(slope_y, -limit, limit)
        length = np.sqrt(nx * nx + ny * ny + 1.0)
        # Flipped afterwards, hence lit from the other side.
        factors = light.on((-nx if flipped else nx) / length, ny / length, 1.0 / length)
        far = np.clip(1.0 + (self.front + 0.05) * 2.2, 0.55, 1.0)[..., None]
        colours = np.stack([coat.body * tint, coat.limb * tint, coat.belly * tint, coat.dark])[self.role]
        step = -1 if flipped else 1
        lit: Floats = colours * paint * factors * far
        return Sprite(lit[:, ::step], alpha[:, ::step], alpha.shape[1] / 2)
