"""Houses and blocks: polygons in metres on a front and one visible side, in simple perspective."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from datus2_ray.demo.canvas import Canvas, Sprite, mix, palette
from datus2_ray.demo.noise import Floats, axes, noise

# Along the front (metres), up (metres), and along the side from its near end (0) to its far end (1).
Point = tuple[float, float, float]

_FINE = 3  # polygons are drawn this much finer, then averaged
_MARGIN = 1.0  # metres around, for eaves
_WALLS = palette("ebe3d1 e0cca3 b36b52 9e5745 c7bdb3 d6a885 a8b3b8 8f291f 75614a")
_ROOFS = palette("8f422e 6b382b 525259 755c4d 424752")
_DOORS = palette("3d664d 475c85 803329 4d3829")
_FRAME, _BRICK, _ROOM = palette("edebe6 804738 1a1f26")


class _Facade:
    """A building of a size in metres; the lower left corner of its front is the origin."""

    def __init__(self, canvas: Canvas, metre: float, width: float, depth: float, height: float) -> None:
        self.rng, self.eye, self.haze = canvas.rng, canvas.eye, canvas.light.haze
        self.metre, self.width = metre, width
        # The larger a metre looks, the nearer the building, and the more its far end shrinks.
        self.shrink = 1.0 / (1.0 + 1.2 * depth * metre / canvas.width)
        self.run = depth * 0.55
        w, h = (int(side * metre + 1) * _FINE for side in (width + self.run + 2 * _MARGIN, height + _MARGIN))
        self.picture, self.cover = Image.new("RGB", (w, h)), Image.new("L", (w, h))
        self.colours, self.shape = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.cover)
        # Colour factors of the front, the visible side and a slope that faces the viewer.
        normals = np.array([(0.0, 0.95, 0.0), (0.0, 0.0, 0.75), (1.0, 0.3, 0.65)], np.float32)
        self.front_light, self.side_light, self.roof_light = canvas.light.on(*normals)

    def fill(self, colour: Floats, *points: Point) -> None:
        """Fill a polygon."""
        scale, corners = self.metre * _FINE, []
        for x, y, t in points:
            seen = self.eye + (y - self.eye) * (1.0 + (self.shrink - 1.0) * t)
            corners.append(((_MARGIN + x + self.run * t) * scale, self.picture.height - seen * scale))
        red, green, blue = (min(max(int(c * 255), 0), 255) for c in colour.tolist())
        self.colours.polygon(corners, fill=(red, green, blue))
        self.shape.polygon(corners, fill=255)

    def front(self, colour: Floats, x0: float, y0: float, x1: float, y1: float, t: float = 0.0) -> None:
        """Fill a rectangle of the front, or of a plane behind it."""
        self.fill(colour, (x0, y0, t), (x1, y0, t), (x1, y1, t), (x0, y1, t))

    def side(self, colour: Floats, t0: float, y0: float, t1: float, y1: float) -> None:
        """Fill a rectangle of the side."""
        self.fill(colour, *((self.width, y, t) for y, t in ((y0, t0), (y0, t1), (y1, t1), (y1, t0))))

    def glass(self) -> Floats:
        """Return the colour of a pane: a dark room, or the sky in the glass."""
        return mix(_ROOM, self.haze, np.array((0.08, 0.08, 0.08, 0.18, 0.18, 0.35, 0.6)[self.rng.integers(7)]))

    def sprite(self) -> Sprite:
        """Return the building, averaged to pixels, with weathered walls and darker feet."""
        alpha = np.asarray(self.cover.reduce(_FINE), np.float32) / np.float32(255)
        # Half-covered pixels were averaged with the black around them.
        colours = np.asarray(self.picture.reduce(_FINE), np.float32) / (255 * np.maximum(alpha, 0.05)[..., None])
        h, w = alpha.shape
        stains = noise(self.rng, h, w, max(self.metre * 1.6, 2.0), octaves=4, gain=0.7, stretch=0.7)
        courses = noise(self.rng, h, w, max(self.metre * 0.16, 1.0), stretch=3.0)
        foot = 1.0 - 0.25 * np.exp((axes(h, 1)[0] - h) / (0.7 * self.metre))
        colours = (colours * ((1.0 + 0.045 * stains + 0.035 * courses) * foot)[..., None]).astype(np.float32)
        return Sprite(colours, alpha, (_MARGIN + (self.width + self.run) / 2) * self.metre)


def house(canvas: Canvas, metre: float) -> Sprite:
    """Draw a house of one to three floors under a tiled roof, with a chimney, a door and windows in frames."""
    rng, floors = canvas.rng, int(canvas.rng.integers(1, 4))
    width, depth, wall = rng.uniform(7, 12), rng.uniform(6, 9), 0.4 + 2.8 * floors
    ridge, eaves = wall + rng.uniform(2.4, 4.0), wall - 0.25
    f = _Facade(canvas, metre, width, depth, ridge + 1.2)
    paint = rng.choice(_WALLS) * rng.uniform(0.92, 1.04)
    front, side, tiles = paint * f.front_light, paint * f.side_light, rng.choice(_ROOFS) * f.roof_light
    f.side(side, 0, 0, 1, wall)
    f.fill(side, (width, wall, 0), (width, wall, 1), (width, ridge, 0.5))
    f.front(front, 0, 0, width, wall)
    f.front(front * 0.7, 0, 0, width, 0.4)
    chimney = rng.uniform(0.15, 0.75) * width
    f.front(_BRICK * f.front_light, chimney, wall, chimney + 0.9, ridge + 0.9, 0.5)
    # The slope over the front, its ridge half-way along the side, in rows of tiles.
    for row in range(16):
        (low, near), (high, far) = (((ridge - eaves) * r / 16 + eaves, r / 32) for r in (row, row + 1))
        corners = ((-0.45, low, near), (width + 0.45, low, near), (width + 0.45, high, far), (-0.45, high, far))
        f.fill(tiles * (0.86 if row % 2 else 1.0), *corners)
    # The eaves throw a shadow on the wall.
    f.front(front * 0.78, 0, wall - 0.80, width, wall - 0.3)
    columns = int(width // 2.4)
    frame, door, entrance = _FRAME * f.front_light, rng.choice(_DOORS) * f.front_light, int(rng.integers(columns))
    for floor in range(floors):
        y = 1.2 + 2.8 * floor
        for column in range(columns):
            x = (column + 0.5) * width / columns
            if floor == 0 and column == entrance:
                f.front(frame, x - 0.60, 0.2, x + 0.60, 2.4)
                f.front(door, x - 0.48, 0.2, x + 0.48, 2.3)
                continue
            f.front(frame, x - 0.60, y - 0.10, x + 0.60, y + 1.40)
            f.front(f.glass(), x - 0.48, y, x - 0.04, y + 1.3)
            f.front(f.glass(), x + 0.04, y, x + 0.48, y + 1.3)
        for t in (0.22, 0.62):
            f.side(_FRAME * f.side_light, t, y - 0.1, t + 0.18, y + 1.4)
            f.side(f.glass() * 0.9, t + 0.02, y, t + 0.16, y + 1.3)
    return f.sprite()


def block(canvas: Canvas, metre: float, storeys: int) -> Sprite:
    """Draw a block of flats or offices: rows of windows, or bands of glass, under a flat roof."""
    rng, height = canvas.rng, storeys * 3.2 + 1.4
    width, depth = rng.uniform(11, 22), rng.uniform(9, 16)
    f = _Facade(canvas, metre, width, depth, height + 3.2)
    paint = rng.choice(_WALLS[2:7]) * rng.uniform(0.9, 1.06)
    front, side = paint * f.front_light, paint * f.side_light
    f.side(side, 0, 0, 1, height)
    f.front(front, 0, 0, width, height)
    columns, rows = max(int(width // 2.6), 3), max(int(depth // 2.8), 3)
    # Windows that fill their column make a band.
    wide = 0.48 if rng.random() < 0.4 else 0.28
    for y in np.arange(1.0, height - 3, 3.2).tolist():
        for x in ((np.arange(columns) + 0.5) * width / columns).tolist():
            f.front(f.glass(), x - wide * width / columns, y, x + wide * width / columns, y + 1.8)
        for t in ((np.arange(rows) + 0.5) / rows).tolist():
            f.side(f.glass() * 0.85, t - wide / rows, y, t + wide / rows, y + 1.8)
    f.front(front * 1.08, -0.15, height - 0.5, width + 0.15, height)
    f.side(side * 1.08, 0, height - 0.5, 1, height)
    return f.sprite()
