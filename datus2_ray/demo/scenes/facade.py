"""Drawing of a building: polygons in metres on a front and one visible side, in simple perspective."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from datus2_ray.demo.scenes.canvas import Canvas, Colour, Light, Sprite, rgb
from datus2_ray.demo.scenes.noise import fractal_noise, value_noise

# Along the front (metres), up (metres), and along the side from its near end (0) to its far end (1).
Point = tuple[float, float, float]

_FINE = 3  # polygons are drawn this much finer, then averaged
_ROOM = rgb(0.10, 0.12, 0.15)
_MARGIN = 1.0  # metres around, for eaves


class Facade:
    """A building of a size in metres (``height`` with everything on its roof), at ``metre`` pixels per metre.

    The lower left corner of the front is (0, 0, 0).
    """

    def __init__(self, canvas: Canvas, metre: float, width: float, depth: float, height: float) -> None:
        self.rng, self.light, self.eye = canvas.rng, canvas.light, canvas.eye
        self.metre, self.width = metre, width
        # Turned around at the end: half of all buildings show their other side.
        self.mirrored = bool(self.rng.random() < 0.5)
        # The larger a metre looks, the nearer the building, and the more its far end shrinks.
        self.shrink = 1.0 / (1.0 + 1.2 * depth * metre / canvas.width)
        self.run = depth * 0.55
        self.size = (
            max(int((width + self.run + 2 * _MARGIN) * metre), 1) * _FINE,
            max(int((height + _MARGIN) * metre + 1), 1) * _FINE,
        )
        self.picture, self.cover = Image.new("RGB", self.size), Image.new("L", self.size)
        # Colour factors of the front, the visible side and a slope that faces the viewer.
        self.front_light = _lit(self.light, 0.0, 0.0, 1.0)
        self.side_light = _lit(self.light, -0.95 if self.mirrored else 0.95, 0.0, 0.3)
        self.roof_light = _lit(self.light, 0.0, 0.75, 0.65)
        self.colours, self.shape = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.cover)

    def fill(self, colour: Colour, *points: Point) -> None:
        """Fill a polygon."""
        corners = [self._project(*point) for point in points]
        red, green, blue = (min(max(int(c * 255), 0), 255) for c in colour.tolist())
        self.colours.polygon(corners, fill=(red, green, blue))
        self.shape.polygon(corners, fill=255)

    def front(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill a rectangle of the front."""
        self.fill(colour, (x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0))

    def side(self, colour: Colour, t0: float, y0: float, t1: float, y1: float) -> None:
        """Fill a rectangle of the side."""
        w = self.width
        self.fill(colour, (w, y0, t0), (w, y0, t1), (w, y1, t1), (w, y1, t0))

    def glass(self) -> Colour:
        """Return the colour of a pane: a dark room, or the sky in the glass."""
        bright = (0.08, 0.08, 0.08, 0.08, 0.18, 0.18, 0.18, 0.35, 0.35, 0.6)[self.rng.integers(10)]
        return _ROOM + self.light.haze * np.float32(bright)

    def sprite(self) -> Sprite:
        """Return the building, averaged to pixels, with weathered walls and darker feet."""
        colours = np.asarray(self.picture.reduce(_FINE), np.float32) / 255
        alpha = np.asarray(self.cover.reduce(_FINE), np.float32) * np.float32(1 / 255)
        # Half-covered pixels were averaged with the black around them.
        colours = colours / np.maximum(alpha, 0.05)[..., None]
        h, w = alpha.shape
        stains = fractal_noise(self.rng, h, w, max(self.metre * 1.6, 2.0), octaves=4, gain=0.7, stretch=0.7)
        courses = value_noise(self.rng, h, w, max(self.metre * 0.16, 1.0), stretch=3.0)
        up = (np.arange(h, 0, -1, dtype=np.float32) / np.float32(max(self.metre, 0.5)))[:, None]
        foot = 1.0 - 0.25 * np.exp(-up / 0.7)
        weather = (1.0 + 0.045 * stains + 0.035 * courses) * foot
        colours = (colours * weather[..., None]).astype(np.float32)
        centre = (_MARGIN + (self.width + self.run) / 2) * self.metre
        if self.mirrored:
            return Sprite(colours[:, ::-1], alpha[:, ::-1], w - centre)
        return Sprite(colours, alpha, centre)

    def _project(self, x: float, y: float, t: float) -> tuple[float, float]:
        seen = self.eye + (y - self.eye) * (1.0 + (self.shrink - 1.0) * t)
        scale = self.metre * _FINE
        return (_MARGIN + x + self.run * t) * scale, self.size[1] - seen * scale


def _lit(light: Light, x: float, y: float, z: float) -> Colour:
    normal = [np.full((1, 1), value, np.float32) for value in (x, y, z)]
    factors: Colour = light.on(normal[0], normal[1], normal[2])[0, 0]
    return factors
