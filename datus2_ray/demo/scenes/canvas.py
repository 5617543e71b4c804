"""The canvas: colours and exact labels, the perspective that gives every object its size, and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.scenes.noise import Floats, value_noise

# In the order of the classes of sources/layouts/demo.
SKY, GRASS, WATER, BUILDING, TREE, ANIMAL = range(6)

Colour = Floats


def rgb(red: float, green: float, blue: float) -> Colour:
    """Return a colour of sRGB values in [0, 1]."""
    return np.array([red, green, blue], np.float32)


@dataclass(frozen=True)
class Light:
    """Sun and air.

    ``direction`` is a unit vector to the sun (right, up, towards the viewer); ``shade`` is the light without sun; over
    ``visibility`` metres 63 % of a colour turns to ``haze``.
    """

    direction: Floats
    sun: Colour
    shade: Colour
    haze: Colour
    visibility: float

    def on(self, normal_x: Floats, normal_y: Floats, normal_z: Floats) -> Floats:
        """Return the colour factors [H, W, 3] of a surface with these normals [H, W], y upwards."""
        x, y, z = self.direction
        diffuse = np.maximum(normal_x * x + normal_y * y + normal_z * z, 0.0)[..., None]
        # The sky lights from above, whatever the sun does.
        ambient = (0.75 + 0.25 * normal_y)[..., None]
        factors: Floats = self.shade * ambient + self.sun * diffuse
        return factors

    def through(self, colours: Floats, distance: Floats | float) -> Floats:
        """Return colours [..., 3] with haze, seen over a distance in metres [..., 1]."""
        clear = np.exp(-np.asarray(distance, np.float32) / np.float32(self.visibility))
        seen: Floats = self.haze + clear * (colours - self.haze)
        return seen


@dataclass(frozen=True)
class Sprite:
    """One object: colours [h, w, 3], coverage [h, w]; it stands on its last row, at column ``foot``."""

    colours: Floats
    alpha: Floats
    foot: float

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.alpha.shape[1])


class Canvas:
    """Colours [H, W, 3] and labels [H, W], painted from back to front, and the random generator of the scene.

    The ground is a plane seen from ``eye`` metres above it: an object with its foot at row ``base`` has
    (base - horizon) / eye pixels per metre.
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
        """Return the pixels per metre of an object that stands at row ``base``."""
        return max(base - self.horizon, 0.5) / self.eye

    def below(self, share: float) -> float:
        """Return the row that is ``share`` of the height below the horizon."""
        return self.horizon + share * self.height

    def ground(self, top: int) -> tuple[Floats, Floats, Floats]:
        """Return for the ground from row ``top`` down: pixels per metre [h, 1], metres across and away [h, W]."""
        y = np.arange(top, self.height, dtype=np.float32)[:, None]
        x = np.arange(self.width, dtype=np.float32)[None, :] - np.float32(self.width / 2)
        metre = np.maximum(y - np.float32(self.horizon), np.float32(0.6)) / np.float32(self.eye)
        return metre, x / metre, self.width / metre + np.zeros_like(x)

    def paint(self, colours: Floats, alpha: Floats, label: int | None, top: int = 0, left: int = 0) -> None:
        """Paint colours [h, w, 3]; pixels that they cover by half or more get the label."""
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
        """Paint a sprite that stands on the ground, in the haze of its distance."""
        colours = self.light.through(sprite.colours, self.width / self.metre(base))
        top = round(base) - sprite.alpha.shape[0]
        self.paint(colours, sprite.alpha, label, top, round(column - sprite.foot))

    def cast_shadow(self, column: float, base: float, width: float, strength: float = 0.45) -> None:
        """Darken the ground around a foot, away from the sun; labels do not change."""
        length, thickness = width * 0.75, max(width * 0.13, 1.0)
        centre = column - float(self.light.direction[0]) * width * 0.45
        top, left = int(base - 2 * thickness), int(centre - 2 * length)
        y = np.arange(top, int(base + 2 * thickness) + 1, dtype=np.float32)[:, None]
        x = np.arange(left, int(centre + 2 * length) + 1, dtype=np.float32)[None, :]
        blob = np.exp(-(((x - centre) / length) ** 2) * 2 - ((y - base) / thickness) ** 2 * 1.5)
        self.paint(self.light.shade * np.float32(0.12), blob * np.float32(strength), None, top, left)


def develop(rng: np.random.Generator, pixels: Floats) -> NDArray[np.uint8]:
    """Return painted colours [H, W, 3] as a camera sees them: blur, dark corners, a tone curve, grain of the sensor."""
    height, width, _ = pixels.shape
    soft = _soften(pixels, np.float32(rng.uniform(0.06, 0.16)))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    corners = 1.0 - np.float32(rng.uniform(0.04, 0.16)) * (x * x + y * y) * 0.5
    balance = rng.uniform(0.96, 1.04, 3).astype(np.float32)
    exposed = np.clip(soft * corners[..., None] * balance * np.float32(rng.uniform(1.05, 1.20)), 0.0, 1.2)
    # A soft shoulder keeps highlights from burning out, a slight toe keeps the dark dark.
    toned = exposed * (1.0 + 0.12 * exposed) / (1.0 + 0.20 * exposed**2)
    # Shot noise grows with the root of the light; demosaicing makes it a little blotchy and coloured.
    grain = rng.standard_normal((height, width, 1), dtype=np.float32)
    colour = np.stack([value_noise(rng, height, width, 2.0) for _ in range(3)], axis=-1) * np.float32(0.6)
    noisy = toned + (grain + colour) * np.sqrt(toned + 0.02) * np.float32(rng.uniform(0.004, 0.011))
    developed: NDArray[np.uint8] = np.rint(np.clip(noisy, 0.0, 1.0) * 255).astype(np.uint8)
    return developed


def _soften(pixels: Floats, share: np.float32) -> Floats:
    """Add ``share`` of the neighbours of every pixel, vertically, then horizontally."""
    for axis in (0, 1):
        padded = np.pad(pixels, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        pixels = pixels + share * (before + after - 2 * pixels)
    return pixels
