"""Buildings: houses, barns, blocks and churches, with windows, doors and roofs."""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes.canvas import Canvas, Colour, Sprite, rgb
from datus2_ray.demo.scenes.facade import Facade

_WALLS = (
    rgb(0.92, 0.89, 0.82), rgb(0.88, 0.80, 0.64), rgb(0.70, 0.42, 0.32), rgb(0.62, 0.34, 0.27), rgb(0.78, 0.74, 0.70),
    rgb(0.84, 0.66, 0.52), rgb(0.66, 0.70, 0.72), rgb(0.90, 0.84, 0.60),
)  # fmt: skip
_ROOFS = (
    rgb(0.56, 0.26, 0.18), rgb(0.42, 0.22, 0.17), rgb(0.32, 0.32, 0.35), rgb(0.46, 0.36, 0.30), rgb(0.26, 0.28, 0.32),
)  # fmt: skip
_TOWERS = (
    rgb(0.74, 0.72, 0.70), rgb(0.62, 0.56, 0.50), rgb(0.56, 0.60, 0.66), rgb(0.68, 0.50, 0.42), rgb(0.46, 0.54, 0.62),
    rgb(0.82, 0.78, 0.72),
)  # fmt: skip
_PLANKS = (rgb(0.56, 0.16, 0.12), rgb(0.46, 0.36, 0.27), rgb(0.60, 0.52, 0.44), rgb(0.38, 0.26, 0.20))
_STONES = (rgb(0.74, 0.70, 0.62), rgb(0.90, 0.88, 0.82), rgb(0.60, 0.54, 0.48))
_SHUTTERS = (rgb(0.24, 0.40, 0.30), rgb(0.28, 0.36, 0.52), rgb(0.50, 0.20, 0.16))
_WHITE, _BROWN, _DARK = rgb(0.93, 0.92, 0.90), rgb(0.30, 0.22, 0.16), rgb(0.14, 0.13, 0.13)


def _one(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[rng.integers(len(colours))]


def house(canvas: Canvas, metre: float) -> Sprite:
    """Draw a house of one to three floors under a pitched roof, with a chimney, a door and windows in frames."""
    rng = canvas.rng
    floors = int(rng.integers(1, 4))
    width, depth = rng.uniform(7, 12), rng.uniform(6, 9)
    wall = 0.4 + 2.8 * floors
    ridge = wall + rng.uniform(2.4, 4.0)
    f = Facade(canvas, metre, width, depth, ridge + 1.2)
    paint = _one(rng, _WALLS) * rng.uniform(0.92, 1.04)
    front = paint * f.front_light
    f.side(paint * f.side_light, 0, 0, 1, wall)
    f.fill(paint * f.side_light, (width, wall, 0), (width, wall, 1), (width, ridge, 0.5))
    f.front(front, 0, 0, width, wall)
    f.front(front * 0.7, 0, 0, width, 0.4)
    _chimney(f, rng.uniform(0.15, 0.75) * width, (wall + ridge) / 2, ridge + 0.8)
    _pitched_roof(f, _one(rng, _ROOFS) * f.roof_light, wall - 0.25, ridge)
    f.front(front * 0.55, -0.45, wall - 0.37, width + 0.45, wall - 0.2)
    # The eaves throw a shadow on the wall.
    f.front(front * 0.78, 0, wall - 0.80, width, wall - 0.37)
    frame = _WHITE if rng.random() < 0.7 else _BROWN
    shutter = _one(rng, _SHUTTERS) if rng.random() < 0.4 else None
    columns = int(width // 2.4)
    door = int(rng.integers(columns))
    for floor in range(floors):
        y = 1.2 + 2.8 * floor
        for column in range(columns):
            x = (column + 0.5) * width / columns
            if floor == 0 and column == door:
                f.front(frame * f.front_light, x - 0.60, 0.2, x + 0.60, 2.4)
                f.front((_BROWN if shutter is None else shutter) * f.front_light, x - 0.48, 0.2, x + 0.48, 2.3)
            else:
                _window(f, frame, shutter, x, y)
        for t in (0.22, 0.62):
            f.side(frame * f.side_light, t, y - 0.1, t + 0.18, y + 1.4)
            f.side(f.glass() * 0.9, t + 0.02, y, t + 0.16, y + 1.3)
    return f.sprite()


def _window(f: Facade, frame: Colour, shutter: Colour | None, x: float, y: float) -> None:
    if shutter is not None:
        f.front(shutter * f.front_light, x - 1.0, y, x + 1.0, y + 1.3)
    f.front(frame * f.front_light, x - 0.60, y - 0.10, x + 0.60, y + 1.40)
    pane = f.glass()
    f.front(pane, x - 0.48, y, x - 0.04, y + 1.3)
    f.front(pane * 1.1, x + 0.04, y, x + 0.48, y + 1.3)


def _pitched_roof(f: Facade, tiles: Colour, eaves: float, ridge: float) -> None:
    """Draw the slope over the front, its ridge half-way along the side, with rows of tiles."""
    left, right = -0.45, f.width + 0.45
    f.fill(tiles, (left, eaves, 0), (right, eaves, 0), (right, ridge, 0.5), (left, ridge, 0.5))
    for row in np.arange(0.08, 1.0, 0.12):
        (low, t0), (high, t1) = [(eaves + (ridge - eaves) * r, r / 2) for r in (float(row), float(row) + 0.035)]
        f.fill(tiles * 0.84, (left, low, t0), (right, low, t0), (right, high, t1), (left, high, t1))


def _chimney(f: Facade, x: float, low: float, high: float) -> None:
    brick = rgb(0.50, 0.28, 0.22) * f.front_light
    f.fill(brick, (x, low, 0.5), (x + 0.9, low, 0.5), (x + 0.9, high, 0.5), (x, high, 0.5))
    left, right, top = x - 0.1, x + 1.0, high + 0.25
    f.fill(brick * 0.6, (left, high, 0.5), (right, high, 0.5), (right, top, 0.5), (left, top, 0.5))


def barn(canvas: Canvas, metre: float) -> Sprite:
    """Draw a barn of planks, its gable with the big door to the front."""
    rng = canvas.rng
    width, depth = rng.uniform(8, 11), rng.uniform(12, 18)
    wall, roof = rng.uniform(3.6, 4.8), rng.uniform(3.0, 4.2)
    middle, ridge = width / 2, wall + roof
    f = Facade(canvas, metre, width, depth, ridge + 0.6)
    paint = _one(rng, _PLANKS)
    front, side, trim = paint * f.front_light, paint * f.side_light, _WHITE * 0.95 * f.front_light
    tiles = _one(rng, _ROOFS[2:]) * f.roof_light
    f.side(side, 0, 0, 1, wall)
    f.fill(front, (0, 0, 0), (width, 0, 0), (width, wall, 0), (middle, ridge, 0), (0, wall, 0))
    for x in np.arange(0.3, width, 0.45).tolist():
        f.front(front * rng.uniform(0.66, 0.82), x, 0, x + 0.07, wall + roof * (1 - abs(x - middle) / middle))
    for t in np.arange(0.03, 1.0, 0.045).tolist():
        f.side(side * 0.74, t, 0, t + 0.008, wall)
    edge, eaves, top = width + 0.3, wall - 0.3, ridge + 0.15
    f.fill(tiles, (edge, eaves, 0), (edge, eaves, 1), (middle, top, 1), (middle, top, 0))
    for share in np.arange(0.1, 1.0, 0.14).tolist():
        x, y = edge + (middle - edge) * share, eaves + (top - eaves) * share
        f.fill(tiles * 0.85, (x, y, 0), (x, y, 1), (x - 0.12, y + 0.12, 1), (x - 0.12, y + 0.12, 0))
    for foot in (-0.3, edge):
        f.fill(trim, (foot, eaves, 0), (middle, top, 0), (middle, top - 0.4, 0), (foot, eaves - 0.35, 0))
    f.front(trim, middle - 1.9, 0, middle + 1.9, 3.2)
    f.front(front * (0.8 if rng.random() < 0.6 else 0.25), middle - 1.7, 0, middle + 1.7, 3.0)
    f.front(trim, middle - 0.08, 0, middle + 0.08, 3.0)
    f.front(trim, middle - 0.7, wall + 0.3, middle + 0.7, wall + 1.5)
    f.front(_DARK, middle - 0.55, wall + 0.4, middle + 0.55, wall + 1.4)
    return f.sprite()


def block(canvas: Canvas, metre: float, storeys: int) -> Sprite:
    """Draw a block of flats or offices: rows of windows, or bands of glass, under a flat roof."""
    rng = canvas.rng
    width, depth, storey = rng.uniform(11, 22), rng.uniform(9, 16), 3.2
    height = storeys * storey + 1.4
    f = Facade(canvas, metre, width, depth, height + 3.2)
    paint = _one(rng, _TOWERS) * rng.uniform(0.9, 1.06)
    front, side = paint * f.front_light, paint * f.side_light
    if rng.random() < 0.6:
        x = rng.uniform(0.2, 0.5) * width
        f.front(front * 0.8, x, height - 0.5, x + width * 0.28, height + 2.4)
    f.side(side, 0, 0, 1, height)
    f.front(front, 0, 0, width, height)
    banded = bool(rng.random() < 0.4)
    columns, rows = max(int(width // 2.6), 3), max(int(depth // 2.8), 3)
    for floor in range(storeys):
        y = 1.0 + floor * storey
        if banded:
            f.front(f.glass() * 1.1, 0.3, y, width - 0.3, y + 1.9)
            f.side(f.glass() * f.side_light, 0.03, y, 0.97, y + 1.9)
        for column in range(columns):
            x = (column + 0.5) * width / columns
            if banded:
                f.front(front * 0.8, x + 1.1, y, x + 1.25, y + 1.9)
            else:
                f.front(front * 0.7, x - 0.75, y - 0.15, x + 0.75, y)
                f.front(f.glass(), x - 0.70, y, x + 0.70, y + 1.7)
        for row in range(0 if banded else rows):
            t = (row + 0.5) / rows
            f.side(f.glass() * 0.85, t - 0.22 / rows, y, t + 0.22 / rows, y + 1.7)
    f.front(front * 1.08, -0.15, height - 0.5, width + 0.15, height)
    f.side(side * 1.08, 0, height - 0.5, 1, height)
    return f.sprite()


def church(canvas: Canvas, metre: float) -> Sprite:
    """Draw a church tower with a pointed spire before its nave."""
    rng = canvas.rng
    tower, nave = rng.uniform(4.5, 6), rng.uniform(12, 16)
    wall, spire = rng.uniform(13, 18), rng.uniform(7, 13)
    f = Facade(canvas, metre, tower, nave, wall + spire + 0.5)
    stone, slate = _one(rng, _STONES), _one(rng, _ROOFS)
    front, side = stone * f.front_light, stone * f.side_light
    eaves, middle = wall * 0.45, tower / 2
    f.side(side, 0.3, 0, 1, eaves)
    inner, top = tower - 1, eaves + 3.5
    f.fill(slate * f.roof_light, (tower, eaves, 0.3), (tower, eaves, 1), (inner, top, 1), (inner, top, 0.3))
    for t in (0.48, 0.64, 0.80):
        f.side(_DARK, t, 1.6, t + 0.06, eaves - 1.2)
    f.side(side, 0, 0, 0.34, wall)
    f.front(front, 0, 0, tower, wall)
    peak = (middle, wall + spire, 0.17)
    f.fill(slate * f.side_light, (tower + 0.2, wall, 0), (tower + 0.2, wall, 0.34), peak)
    f.fill(slate * f.roof_light, (-0.2, wall, 0), (tower + 0.2, wall, 0), peak)
    f.front(_BROWN * f.front_light, middle - 0.8, 0, middle + 0.8, 2.8)
    for y in (wall * 0.5, wall * 0.8):
        f.front(_DARK, middle - 0.5, y, middle + 0.5, y + 1.8)
    return f.sprite()
