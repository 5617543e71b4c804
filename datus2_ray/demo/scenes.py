"""Rendered scenes with exact masks: six kinds, each painted from back to front with random objects at random places.

A place ``x`` is a share of the width, ``base`` is a row, ``depth`` is a share of the height below the horizon.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.animals import SPECIES, draw_quadruped, draw_swimmer
from datus2_ray.demo.buildings import block, house
from datus2_ray.demo.canvas import ANIMAL, BUILDING, TREE, Canvas, Light, Sprite, develop
from datus2_ray.demo.ground import paint_grass, paint_ridge, paint_water, ridge_line
from datus2_ray.demo.plants import broadleaf, conifer
from datus2_ray.demo.sky import draw_mood, paint_sky

Range = tuple[float, float]

Draw = Callable[[np.random.Generator, Light, float], Sprite]


def _plant(canvas: Canvas, base: float, metres: Range, x: float | None = None, draw: Draw | None = None) -> None:
    """Paint a tree, its height in metres from a range, at a random ``x`` unless given."""
    rng, height = canvas.rng, canvas.rng.uniform(*metres) * canvas.metre(base)
    column = (rng.uniform() if x is None else x) * canvas.width
    draw = draw or (conifer, broadleaf, broadleaf)[int(rng.integers(3))]
    # Under five pixels a tree is a smudge.
    if height >= 5:
        canvas.stand(draw(rng, canvas.light, min(height, canvas.height * 1.6)), column, base, TREE)


def _woods(canvas: Canvas, fewest: int, most: int, depths: Range, metres: Range) -> None:
    """Paint ``fewest`` to ``most`` trees, the far before the near."""
    for depth in np.sort(canvas.rng.uniform(*depths, int(canvas.rng.integers(fewest, most + 1)))).tolist():
        _plant(canvas, canvas.below(depth), metres)


def _quadruped(canvas: Canvas, x: float, base: float, name: str, metre: float) -> None:
    sprite = draw_quadruped(canvas.rng, canvas.light, SPECIES[name], metre)
    canvas.stand(sprite, x * canvas.width, base, ANIMAL)


def _herd(canvas: Canvas, names: str, fewest: int, most: int, rows: Range) -> None:
    """Paint ``fewest`` to ``most`` animals of one of the species ``names``, at ``rows`` in shares of the height."""
    rng, name = canvas.rng, str(canvas.rng.choice(names.split()))
    count = int(rng.integers(fewest, most + 1))
    places = (rng.permutation(count) + rng.uniform(0.2, 0.8, count)) / count
    for base, x in zip(np.sort(rng.uniform(*rows, count)).tolist(), places.tolist(), strict=True):
        metre = min(canvas.metre(base * canvas.height) * 1.3, 0.36 * canvas.height / SPECIES[name].height)
        _quadruped(canvas, x, base * canvas.height, name, metre)


def _lake(canvas: Canvas, shore: float, roughness: float, last: float) -> None:
    """Paint water from row ``shore`` on, with one to four birds above row ``last``, each with its mirror image."""
    paint_water(canvas, shore, roughness)
    rng = canvas.rng
    for base in np.sort(rng.uniform(shore + 0.13 * canvas.height, last, int(rng.integers(1, 5)))).tolist():
        column = rng.uniform(0.08, 0.92) * canvas.width
        sprite = draw_swimmer(rng, canvas.light, canvas.metre(base) * 1.3)
        mirrored, alpha = sprite.colours[::-1] * np.float32(0.75), sprite.alpha[::-1] * np.float32(0.42)
        canvas.paint(mirrored, alpha, None, round(base) - 2, round(column - sprite.foot))
        canvas.stand(sprite, column, base, ANIMAL, shadow=False)


def _paint_pasture(canvas: Canvas) -> None:
    _woods(canvas, 5, 11, (0.02, 0.18), (5, 9))
    _herd(canvas, "cow sheep horse zebra deer", 2, 5, (0.68, 0.95))


def _paint_lakeside(canvas: Canvas) -> None:
    rng, shore = canvas.rng, canvas.below(canvas.rng.uniform(0.03, 0.07))
    _woods(canvas, 10, 21, (0.03, 0.05), (5, 12))
    if rng.random() < 0.35:
        sprite = house(canvas, canvas.metre(shore) * 1.4)
        canvas.stand(sprite, rng.uniform(0.15, 0.85) * canvas.width, shore - 1, BUILDING)
    _lake(canvas, shore, rng.uniform(0.05, 0.8), 0.78 * canvas.height)
    paint_grass(canvas, ridge_line(canvas, canvas.height * rng.uniform(0.76, 0.92), canvas.height * 0.04, 0.3))
    if rng.random() < 0.4:
        _plant(canvas, canvas.height * 1.04, (3.0, 5.0), float(rng.choice([0.08, 0.92])))
    _herd(canvas, "deer cow sheep horse", 1, 3, (0.90, 1.0))


def _paint_village(canvas: Canvas) -> None:
    rng, x = canvas.rng, canvas.rng.uniform(-0.05, 0.12)
    _woods(canvas, 5, 9, (0.04, 0.08), (6, 10))
    while x < 1.0:
        base = canvas.below(rng.uniform(0.12, 0.24))
        sprite = house(canvas, canvas.metre(base))
        canvas.stand(sprite, x * canvas.width + sprite.foot, base, BUILDING)
        x += sprite.alpha.shape[1] / canvas.width * rng.uniform(0.85, 1.3)
        if rng.random() < 0.6:
            _plant(canvas, base + rng.uniform(-4, 6), (4, 8), x)
    _herd(canvas, "sheep horse cow", 1, 3, (0.82, 0.97))


def _paint_portrait(canvas: Canvas) -> None:
    rng, name, base = canvas.rng, str(canvas.rng.choice(list(SPECIES))), canvas.rng.uniform(0.88, 0.98) * canvas.height
    _woods(canvas, 4, 11, (0.02, 0.12), (5, 9))
    metre = rng.uniform(0.42, 0.62) * canvas.height / SPECIES[name].height
    if rng.random() < 0.5:
        _quadruped(canvas, rng.uniform(0.1, 0.9), base - 0.12 * canvas.height, name, metre * 0.75)
    _quadruped(canvas, rng.uniform(0.35, 0.65), base, name, metre)


def _paint_forest_edge(canvas: Canvas) -> None:
    rng, draw = canvas.rng, (None, conifer, broadleaf)[int(canvas.rng.integers(3))]
    for depth, share in ((0.05, 0.95), (0.10, 0.95), (0.16, 0.6)):
        step = canvas.metre(canvas.below(depth)) * 3.4 / canvas.width
        for x in np.arange(0, 1 + step, step).tolist():
            if rng.random() < share:
                place = x + rng.uniform(-0.5, 0.5) * step
                _plant(canvas, canvas.below(depth + rng.uniform(-0.012, 0.012)), (6, 10), place, draw)
    _herd(canvas, "deer deer sheep horse", 1, 3, (0.76, 0.96))


def _paint_waterfront(canvas: Canvas) -> None:
    rng, quay = canvas.rng, canvas.below(canvas.rng.uniform(0.05, 0.08))
    for fewest, most, base, houses in ((7, 18, quay - 2, 0.0), (3, 8, quay, 0.4)):
        x, metre = rng.uniform(-0.1, 0.0), canvas.metre(base)
        while x < 1.0:
            low = rng.random() < houses
            sprite = house(canvas, metre * 1.1) if low else block(canvas, metre, int(rng.integers(fewest, most)))
            if rng.random() < 0.8:
                canvas.stand(sprite, x * canvas.width + sprite.foot, base, BUILDING)
            x += sprite.alpha.shape[1] / canvas.width * rng.uniform(0.75, 1.2)
    _woods(canvas, 3, 8, (0.06, 0.08), (5, 8))
    _lake(canvas, quay, rng.uniform(0.15, 0.7), 0.95 * canvas.height)


# Painter, height of the horizon (share of the picture), height of the eye (metres).
_COMPOSITIONS: tuple[tuple[Callable[[Canvas], None], Range, Range], ...] = (
    (_paint_pasture, (0.34, 0.46), (2.2, 3.4)),
    (_paint_lakeside, (0.30, 0.44), (2.4, 4.0)),
    (_paint_village, (0.40, 0.50), (2.8, 4.4)),
    (_paint_portrait, (0.30, 0.42), (1.8, 2.6)),
    (_paint_forest_edge, (0.40, 0.50), (2.0, 3.0)),
    (_paint_waterfront, (0.46, 0.56), (5.0, 9.0)),
)


def render(
    index: int, seed: int = 0, height: int = 240, width: int = 320
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Render one scene: RGB [height, width, 3] and the class of every pixel [height, width].

    The kinds of scene take turns by ``index``; everything else is drawn from a generator seeded by ``seed`` and
    ``index``. The classes are those of :mod:`datus2_ray.sources.layouts.demo`.
    """
    rng = np.random.default_rng([seed, index])
    mood, light = draw_mood(rng)
    paint, level, eye = _COMPOSITIONS[index % len(_COMPOSITIONS)]
    canvas = Canvas(rng, height, width, rng.uniform(*level) * height, rng.uniform(*eye), light)
    paint_sky(canvas, mood)
    # The farthest hills are the highest and palest.
    for near in (0.33, 0.67, 1.0)[int(rng.integers(3)) :]:
        rise = height * 0.11 * (1.15 - near)
        line = np.minimum(ridge_line(canvas, canvas.horizon - rise, rise * 0.5 + 1, 0.35), canvas.horizon + 1)
        paint_ridge(canvas, line, 1400.0 * (1.1 - near) + 150, wooded=bool(rng.random() < 0.6))
    paint_grass(canvas, np.full(width, canvas.horizon, np.float32))
    paint(canvas)
    return develop(rng, canvas.pixels), canvas.labels
