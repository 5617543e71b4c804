"""The picture in the making: colours and exact labels together, and the perspective that gives each thing its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.demo.scenes.noise import Floats

__all__ = ["ANIMAL", "BUILDING", "GRASS", "SKY", "TREE", "WATER", "Canvas", "Colour", "Light", "Sprite", "rgb"]

SKY, GRASS, WATER, BUILDING, TREE, ANIMAL = range(6)

Colour = Floats


def rgb(red: float, green: float, blue: float) -> Colour:
    """Make a colour of sRGB values in [0, 1]."""
    return np.array([red, green, blue], np.float32)


@dataclass(frozen=True)
class Light:
    """Sun and air.

    ``direction`` points to the sun (right, up, towards the viewer), of length 1; ``shade`` is the light where no sun
    falls; over ``visibility`` metres 63 % of a colour turns to ``haze``.
    """

    direction: Floats
    sun: Colour
    shade: Colour
    haze: Colour
    visibility: float

    def on(self, normal_x: Floats, normal_y: Floats, normal_z: Floats) -> Floats:
        """Light a surface with the given normals [H, W] (y upwards): colour factors [H, W, 3]."""
        x, y, z = self.direction
        diffuse = np.maximum(normal_x * x + normal_y * y + normal_z * z, 0.0)[..., None]
        # The sky lights from above, whatever the sun does.
        ambient = (0.75 + 0.25 * normal_y)[..., None]
        factors: Floats = self.shade * ambient + self.sun * diffuse
        return factors

    def through(self, colours: Floats, distance: Floats | float) -> Floats:
        """Mix haze into colours [..., 3] seen over a distance in metres [..., 1]."""
        clear = np.exp(-np.asarray(distance, np.float32) / np.float32(self.visibility))
        seen: Floats = self.haze + clear * (colours - self.haze)
        return seen


@dataclass(frozen=True)
class Sprite:
    """One thing on its own: colours [h, w, 3], coverage [h, w]; it stands on its last row, at column ``foot``."""

    colours: Floats
    alpha: Floats
    foot: float

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.alpha.shape[1])


class Canvas:
    """Colours [H, W, 3] and labels [H, W], painted from back to front, with the generator that draws all chance.

    The ground is a plane seen from ``eye`` metres above it: a thing whose foot is at row ``base`` has
    (base - horizon) / eye pixels a metre.
    """

    def __init__(
        self, rng: np.random.Generator, height: int, width: int, horizon: float, eye: float, light: Light
    ) -> None:
        self.rng, self.height, self.width = rng, height, width
        self.horizon, self.eye, self.light = horizon, eye, light
        self.pixels = np.zeros((height, width, 3), np.float32)
        # 255 until something is painted; a finished scene has none left.
        self.labels = np.full((height, width), 255, np.uint8)

    def metre(self, base: float) -> float:
        """Give the pixels a metre for a thing that stands at row ``base``."""
        return max(base - self.horizon, 0.5) / self.eye

    def below(self, share: float) -> float:
        """Give the row that lies ``share`` of the picture's height below the horizon."""
        return self.horizon + share * self.height

    def ground(self, top: int) -> tuple[Floats, Floats, Floats]:
        """Look at the ground plane from row ``top`` down: pixels a metre [h, 1], metres across and away [h, W]."""
        y = np.arange(top, self.height, dtype=np.float32)[:, None]
        x = np.arange(self.width, dtype=np.float32)[None, :] - np.float32(self.width / 2)
        metre = np.maximum(y - np.float32(self.horizon), np.float32(0.6)) / np.float32(self.eye)
        return metre, x / metre, self.width / metre + np.zeros_like(x)

    def paint(self, colours: Floats, alpha: Floats, label: int | None, top: int = 0, left: int = 0) -> None:
        """Lay colours [h, w, 3] over the picture; what they cover by half or more gets the label."""
        height, width = alpha.shape
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, self.height), min(left + width, self.width)
        if y0 >= y1 or x0 >= x1:
            return
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        a = alpha[part][..., None]
        below = self.pixels[y0:y1, x0:x1]
        below += a * (np.broadcast_to(colours, (height, width, 3))[part] - below)
        if label is not None:
            self.labels[y0:y1, x0:x1][a[..., 0] >= 0.5] = label

    def stand(self, sprite: Sprite, column: float, base: float, label: int) -> None:
        """Set a sprite on the ground at its place, behind the haze of its distance."""
        colours = self.light.through(sprite.colours, self.width / self.metre(base))
        top = round(base) - sprite.alpha.shape[0]
        self.paint(colours, sprite.alpha, label, top, round(column - sprite.foot))

    def cast_shadow(self, column: float, base: float, width: float, strength: float = 0.45) -> None:
        """Darken the ground around a foot, drawn out on the side away from the sun; labels stay."""
        length, thickness = width * 0.75, max(width * 0.13, 1.0)
        centre = column - float(self.light.direction[0]) * width * 0.45
        top, left = int(base - 2 * thickness), int(centre - 2 * length)
        y = np.arange(top, int(base + 2 * thickness) + 1, dtype=np.float32)[:, None]
        x = np.arange(left, int(centre + 2 * length) + 1, dtype=np.float32)[None, :]
        blob = np.exp(-(((x - centre) / length) ** 2) * 2 - ((y - base) / thickness) ** 2 * 1.5)
        self.paint(self.light.shade * np.float32(0.12), blob * np.float32(strength), None, top, left)
