"""Eight kinds of scene, each painted from back to front with random objects at random places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from datus2_ray.demo.scenes.buildings import barn, block, church, house
from datus2_ray.demo.scenes.canvas import Canvas
from datus2_ray.demo.scenes.ground import MEADOWS, paint_grass, paint_ridge, paint_water, ridge_line
from datus2_ray.demo.scenes.placing import build, flat_ground, herd, hills, plant, quadruped, swimmers
from datus2_ray.demo.scenes.sky import MOODS, make_light, paint_sky
from datus2_ray.demo.scenes.species import QUADRUPEDS


def compose(rng: np.random.Generator, kind: int, height: int, width: int) -> Canvas:
    """Paint a scene of a kind, modulo their number."""
    mood = MOODS[str(rng.choice(list(MOODS), p=[0.28, 0.30, 0.18, 0.16, 0.08]))]
    paint, level, eye = COMPOSITIONS[kind % len(COMPOSITIONS)]
    canvas = Canvas(rng, height, width, rng.uniform(*level) * height, rng.uniform(*eye), make_light(rng, mood))
    paint_sky(canvas, mood)
    paint(canvas)
    return canvas


def _paint_pasture(canvas: Canvas) -> None:
    """Paint a pasture under hills, with trees here and there and a herd."""
    rng = canvas.rng
    hills(canvas, int(rng.integers(1, 4)), 0.10)
    paint_grass(canvas, ridge_line(canvas, canvas.horizon, 1.5, 0.3), _some_meadow(canvas))
    for share in np.sort(rng.uniform(0.02, 0.18, int(rng.integers(5, 12)))).tolist():
        plant(canvas, canvas.below(share), (5, 9))
    herds = ("cow", "sheep", "horse", "cow horse", "zebra", "elephant zebra", "deer")
    herd(canvas, herds, 2, 5, (0.68, 0.95), 1.25)


def _paint_lakeside(canvas: Canvas) -> None:
    """Paint a lake before a wooded shore, with a strip of grass and perhaps a tree in front."""
    rng, meadow = canvas.rng, _some_meadow(canvas)
    hills(canvas, int(rng.integers(2, 4)), 0.16)
    shore = canvas.below(rng.uniform(0.03, 0.07))
    flat_ground(canvas, meadow)
    for _ in range(int(rng.integers(10, 22))):
        plant(canvas, shore - rng.uniform(0, 2), (5, 12))
    if rng.random() < 0.35:
        build(canvas, house(canvas, canvas.metre(shore - 1) * 1.4), rng.uniform(0.15, 0.85), shore - 1)
    paint_water(canvas, shore, rng.uniform(0.05, 0.55))
    swimmers(canvas, 4, shore + 0.12 * canvas.height, 0.80 * canvas.height)
    level = canvas.height * rng.uniform(0.84, 0.95)
    paint_grass(canvas, ridge_line(canvas, level, canvas.height * 0.035, 0.3), meadow)
    if rng.random() < 0.5:
        plant(canvas, canvas.height * 1.04, (3.5, 5.5), float(rng.choice([0.08, 0.92])), "broadleaf")
    else:
        herd(canvas, ("deer", "dog", "cow", "bear"), 1, 2, (0.93, 1.0), 1.1)


def _paint_village(canvas: Canvas) -> None:
    """Paint houses along a green, a church behind them, gardens with trees and bushes."""
    rng = canvas.rng
    hills(canvas, int(rng.integers(1, 3)), 0.09)
    flat_ground(canvas, int(rng.choice([0, 1, 4])))
    back = canvas.below(0.07)
    for _ in range(int(rng.integers(5, 10))):
        plant(canvas, back - rng.uniform(0, 6), (6, 10))
    if rng.random() < 0.6:
        build(canvas, church(canvas, canvas.metre(back)), rng.uniform(0.2, 0.8), back)
    x, depth = rng.uniform(-0.05, 0.12), rng.uniform(0.12, 0.20)
    while x < 1.0:
        depth = float(np.clip(depth + rng.uniform(-0.03, 0.03), 0.10, 0.26))
        base = canvas.below(depth)
        sprite = house(canvas, canvas.metre(base))
        build(canvas, sprite, x + sprite.foot / canvas.width, base)
        x += sprite.width / canvas.width * rng.uniform(0.85, 1.35)
        if rng.random() < 0.6:
            plant(canvas, base + 3, (1.2, 2.4), x - 0.01, "bush")
        if rng.random() < 0.6:
            plant(canvas, base + rng.uniform(-4, 6), (4, 8), x)
    if rng.random() < 0.7:
        herd(canvas, ("dog", "sheep", "horse", "pig"), 1, 3, (0.82, 0.97), 1.4)


def _paint_portrait(canvas: Canvas) -> None:
    """Paint one or two animals close by, sharp before a soft background."""
    rng = canvas.rng
    hills(canvas, 1, 0.08)
    flat_ground(canvas, _some_meadow(canvas))
    for share in np.sort(rng.uniform(0.02, 0.12, int(rng.integers(4, 12)))).tolist():
        plant(canvas, canvas.below(share), (5, 9))
    # Depth of field: what is far is soft, the grass in front stays sharp.
    sigma = rng.uniform(1.0, 2.2) * canvas.height / 240
    soft = ndimage.gaussian_filter(canvas.pixels, (sigma, sigma, 0.0), truncate=2.5)
    y = np.arange(canvas.height, dtype=np.float32)[:, None, None]
    share = np.clip((y - np.float32(canvas.horizon)) / np.float32(0.35 * canvas.height), 0.0, 1.0)
    canvas.pixels = soft + share * (canvas.pixels - soft)
    name = str(rng.choice(list(QUADRUPEDS)))
    base = rng.uniform(0.88, 0.98) * canvas.height
    enlarged = rng.uniform(0.42, 0.62) * canvas.height / (QUADRUPEDS[name].height * canvas.metre(base))
    if rng.random() < 0.5:
        quadruped(canvas, rng.uniform(0.1, 0.9), base - 0.12 * canvas.height, name, enlarged * 0.75, 0.62)
    quadruped(canvas, rng.uniform(0.35, 0.65), base, name, enlarged, 0.62)


def _paint_forest_edge(canvas: Canvas) -> None:
    """Paint a wall of trees across the view and a clearing in front of it."""
    rng = canvas.rng
    line = ridge_line(canvas, canvas.below(-0.03), canvas.height * 0.02, 0.4)
    paint_ridge(canvas, line, 200.0, wooded=True)
    flat_ground(canvas, _some_meadow(canvas))
    kind = (None, "conifer", "broadleaf")[rng.integers(3)]
    for depth in (0.05, 0.10, 0.16):
        step = canvas.metre(canvas.below(depth)) * 3.4 / canvas.width
        for x in np.arange(0, 1 + step, step).tolist():
            if rng.random() < (0.95 if depth < 0.15 else 0.6):
                place = x + rng.uniform(-0.5, 0.5) * step
                plant(canvas, canvas.below(depth + rng.uniform(-0.012, 0.012)), (6, 10), place, kind)
    for _ in range(int(rng.integers(2, 6))):
        plant(canvas, canvas.below(rng.uniform(0.17, 0.22)), (0.9, 1.8), kind="bush")
    herd(canvas, ("deer", "deer", "bear", "dog", "horse", "pig"), 1, 3, (0.76, 0.96), 1.35)


def _paint_waterfront(canvas: Canvas) -> None:
    """Paint a town by the water: blocks and houses in two rows, their image below."""
    rng = canvas.rng
    hills(canvas, int(rng.integers(0, 3)), 0.08)
    quay = canvas.below(rng.uniform(0.05, 0.08))
    flat_ground(canvas, 1)
    for least, most, base, kept, houses in ((7, 18, quay - 2, 0.85, 0.0), (3, 8, quay, 0.75, 0.4)):
        x, metre = rng.uniform(-0.1, 0.0), canvas.metre(base)
        while x < 1.0:
            if rng.random() < houses:
                sprite = house(canvas, metre * 1.1)
            else:
                sprite = block(canvas, metre, int(rng.integers(least, most)))
            if rng.random() < kept:
                build(canvas, sprite, x + sprite.foot / canvas.width, base)
            elif houses:
                plant(canvas, base + 1, (5, 9), x + sprite.foot / canvas.width, "broadleaf")
            x += sprite.width / canvas.width * rng.uniform(0.75, 1.2)
    for _ in range(int(rng.integers(3, 9))):
        plant(canvas, quay, (4, 7), kind="broadleaf")
    paint_water(canvas, quay, rng.uniform(0.15, 0.7))
    swimmers(canvas, 4, quay + 0.15 * canvas.height, 0.95 * canvas.height)


def _paint_coast(canvas: Canvas) -> None:
    """Paint open water to the horizon, perhaps an island, and pasture on the shore in front."""
    rng = canvas.rng
    if rng.random() < 0.6:
        line = ridge_line(canvas, canvas.below(0.03), canvas.height * 0.05, 0.5)
        paint_ridge(canvas, line, rng.uniform(300, 900), wooded=bool(rng.random() < 0.5))
    paint_water(canvas, canvas.horizon, rng.uniform(0.4, 1.0))
    level, tilt = canvas.height * rng.uniform(0.66, 0.80), canvas.height * rng.uniform(-0.12, 0.12)
    near = ridge_line(canvas, level, canvas.height * 0.03, 0.3)
    near = near + np.linspace(-tilt, tilt, canvas.width, dtype=np.float32)
    paint_grass(canvas, near, _some_meadow(canvas))
    if rng.random() < 0.6:
        x = float(rng.choice([0.12, 0.85]))
        plant(canvas, float(near[int(x * canvas.width)]) + 0.08 * canvas.height, (3.0, 5.0), x)
    herd(canvas, ("sheep", "cow", "horse", "dog", "pig"), 2, 4, (0.86, 0.99), 1.3)


def _paint_farm(canvas: Canvas) -> None:
    """Paint a barn and a farmhouse close by, with animals in the yard."""
    rng = canvas.rng
    hills(canvas, int(rng.integers(1, 3)), 0.08)
    flat_ground(canvas, _some_meadow(canvas))
    for _ in range(int(rng.integers(4, 10))):
        plant(canvas, canvas.below(rng.uniform(0.04, 0.10)), (6, 10))
    left = bool(rng.random() < 0.5)
    for draw, x, depth in ((house, 0.78, 0.14), (barn, 0.28, 0.22)):
        base = canvas.below(depth + rng.uniform(-0.02, 0.02))
        place = (x if left else 1 - x) + rng.uniform(-0.06, 0.06)
        build(canvas, draw(canvas, canvas.metre(base)), place, base)
    plant(canvas, canvas.below(0.20), (5, 8), rng.uniform(0.3, 0.7), "broadleaf")
    herd(canvas, ("cow", "pig", "horse", "sheep pig", "dog cow"), 2, 4, (0.80, 0.97), 1.2)


def _some_meadow(canvas: Canvas) -> int:
    return int(canvas.rng.integers(len(MEADOWS)))


# Painter, height of the horizon (share of the picture), height of the eye (metres).
COMPOSITIONS: tuple[tuple[Callable[[Canvas], None], tuple[float, float], tuple[float, float]], ...] = (
    (_paint_pasture, (0.34, 0.46), (2.2, 3.4)),
    (_paint_lakeside, (0.32, 0.44), (2.4, 4.0)),
    (_paint_village, (0.40, 0.50), (3.0, 4.6)),
    (_paint_portrait, (0.30, 0.42), (1.8, 2.6)),
    (_paint_forest_edge, (0.40, 0.50), (2.0, 3.0)),
    (_paint_waterfront, (0.46, 0.56), (5.0, 9.0)),
    (_paint_coast, (0.30, 0.40), (3.0, 4.5)),
    (_paint_farm, (0.40, 0.50), (2.6, 4.0)),
)
