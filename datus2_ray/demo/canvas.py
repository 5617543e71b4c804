"""The canvas: colours and exact labels, the perspective that gives every object its size, and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datus2_ray.demo.noise import Floats, axes, noise

# In the order of the classes of sources/layouts/demo.
SKY, GRASS, WATER, BUILDING, TREE, ANIMAL = range(6)


def palette(colours: str) -> Floats:
    """Return sRGB colours in [0, 1], shape [n, 3], from hexadecimal numbers ``"rrggbb rrggbb ..."``."""
    return np.frombuffer(bytes.fromhex(colours), np.uint8).reshape(-1, 3).astype(np.float32) / np.float32(255)


def mix(first: Floats, second: Floats, share: Floats) -> Floats:
    """Return colours [..., 3]: the second's ``share`` [...], the rest of the first."""
    return np.asarray(first + (second - first) * share[..., None], np.float32)


@dataclass(frozen=True)
class Light:
    """Sun and air.

    ``direction`` is a unit vector to the sun (right, up, towards the viewer); ``shade`` is the light without sun; over
    ``visibility`` metres 63 % of a colour turns to ``haze``.
    """

    direction: Floats
    sun: Floats
    shade: Floats
    haze: Floats
    visibility: float

    def on(self, normal_x: Floats, normal_y: Floats, normal_z: Floats) -> Floats:
        """Return the colour factors [H, W, 3] of a surface with these normals [H, W], y upwards."""
        x, y, z = self.direction
        diffuse = np.maximum(normal_x * x + normal_y * y + normal_z * z, 0.0)[..., None]
        # The sky lights from above, whatever the sun does.
        return np.asarray(self.shade * (0.75 + 0.25 * normal_y)[..., None] + self.sun * diffuse, np.float32)

    def through(self, colours: Floats, distance: Floats | float) -> Floats:
        """Return colours [..., 3] with haze, seen over a distance in metres [...]."""
        return mix(self.haze, colours, np.exp(-np.asarray(distance, np.float32) / np.float32(self.visibility)))


@dataclass(frozen=True)
class Sprite:
    """One object: colours [h, w, 3], coverage [h, w]; it stands on its last row, at column ``foot``."""

    colours: Floats
    alpha: Floats
    foot: float


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
        """Return for the ground from row ``top`` down: pixels per metre, metres away [h, 1], metres across [h, W]."""
        y, x = axes(self.height - top, self.width)
        metre = np.maximum(y + np.float32(top - self.horizon), np.float32(0.6)) / np.float32(self.eye)
        return metre, self.width / metre, (x - np.float32(self.width / 2)) / metre

    def paint(self, colours: Floats, alpha: Floats, label: int | None, top: int = 0, left: int = 0) -> None:
        """Paint colours [h, w, 3]; pixels that they cover by half or more get the label."""
        height, width = alpha.shape
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, self.height), min(left + width, self.width)
        if y0 >= y1 or x0 >= x1:
            return
        part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        below = self.pixels[y0:y1, x0:x1]
        below[:] = mix(below, np.broadcast_to(colours, (height, width, 3))[part], alpha[part])
        if label is not None:
            self.labels[y0:y1, x0:x1][alpha[part] >= 0.5] = label

    def stand(self, sprite: Sprite, column: float, base: float, label: int, shadow: bool = True) -> None:
        """Paint a sprite that stands on the ground, in the haze of its distance."""
        if shadow:
            self._cast_shadow(column, base, sprite.alpha.shape[1] * 0.8)
        colours = self.light.through(sprite.colours, self.width / self.metre(base))
        top = round(base) - sprite.alpha.shape[0]
        self.paint(colours, sprite.alpha, label, top, round(column - sprite.foot))

    def _cast_shadow(self, column: float, base: float, width: float) -> None:
        """Darken the ground around a foot, away from the sun; labels do not change."""
        length, thickness = width * 0.75, max(width * 0.13, 1.0)
        centre = column - float(self.light.direction[0]) * width * 0.45
        top, left = int(base - 2 * thickness), int(centre - 2 * length)
        y, x = axes(int(4 * thickness) + 2, int(4 * length) + 2)
        blob = np.exp(-(((x + left - centre) / length) ** 2) * 2 - ((y + top - base) / thickness) ** 2 * 1.5)
        self.paint(self.light.shade * np.float32(0.12), blob * np.float32(0.42), None, top, left)


def develop(rng: np.random.Generator, pixels: Floats) -> NDArray[np.uint8]:
    """Return painted colours [H, W, 3] as a camera sees them: blur, dark corners, a tone curve, grain of the sensor."""
    height, width, _ = pixels.shape
    sigma = rng.uniform(0.35, 0.6)
    soft = ndimage.gaussian_filter(pixels, (sigma, sigma, 0.0))
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij", sparse=True)
    corners = 1.0 - rng.uniform(0.02, 0.08) * (x * x + y * y)[..., None]
    exposed = np.clip(soft * corners * rng.uniform(0.96, 1.04, 3) * rng.uniform(1.05, 1.20), 0.0, 1.2)
    # A soft shoulder keeps highlights from burning out, a slight toe keeps the dark dark.
    toned = exposed * (1.0 + 0.12 * exposed) / (1.0 + 0.20 * exposed**2)
    # Shot noise grows with the root of the light; demosaicing makes it a little blotchy and coloured.
    colour = np.stack([noise(rng, height, width, 2.0) for _ in range(3)], axis=-1) * 0.6
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) + colour
    noisy = toned + grain * np.sqrt(toned + 0.02) * rng.uniform(0.004, 0.011)
    return np.asarray(np.rint(np.clip(noisy, 0.0, 1.0) * 255), np.uint8)
