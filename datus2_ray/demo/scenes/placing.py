"""Objects at places of a scene: hills, plants, buildings, herds, birds on the water.

A place ``x`` is a share of the width, ``base`` is a row.
"""

from __future__ import annotations

import numpy as np

from datus2_ray.demo.scenes import trees
from datus2_ray.demo.scenes.animals import draw_quadruped, draw_swimmer
from datus2_ray.demo.scenes.canvas import ANIMAL, BUILDING, TREE, Canvas, Sprite
from datus2_ray.demo.scenes.ground import paint_fringe, paint_grass, paint_ridge, ridge_line
from datus2_ray.demo.scenes.species import QUADRUPEDS

_PLANTS = {"conifer": trees.conifer, "broadleaf": trees.broadleaf, "bush": trees.bush}


def hills(canvas: Canvas, count: int, tallest: float) -> None:
    """Paint hills at the horizon, the farthest the highest and palest; ``tallest`` is a share of the height."""
    for i in range(count):
        near = (i + 1) / count
        rise = canvas.height * tallest * (1.15 - near)
        line = np.minimum(ridge_line(canvas, canvas.horizon - rise, rise * 0.5 + 1, 0.35), canvas.horizon + 1)
        paint_ridge(canvas, line, 1400.0 * (1.1 - near) + 150, wooded=bool(canvas.rng.random() < 0.6))


def flat_ground(canvas: Canvas, meadow: int) -> None:
    """Cover everything below the horizon with grass."""
    paint_grass(canvas, np.full(canvas.width, canvas.horizon, np.float32), meadow)


def plant(
    canvas: Canvas, base: float, metres: tuple[float, float], x: float | None = None, kind: str | None = None
) -> None:
    """Paint a tree or bush, its height in metres from a range, at a random ``x`` unless given."""
    rng = canvas.rng
    column = (rng.uniform() if x is None else x) * canvas.width
    height = rng.uniform(*metres) * canvas.metre(base)
    # Under five pixels a tree is a smudge.
    if height >= 5:
        draw = _PLANTS[kind or str(rng.choice(["conifer", "broadleaf", "broadleaf"]))]
        sprite = draw(rng, canvas.light, min(height, canvas.height * 1.6))
        canvas.cast_shadow(column, base, sprite.width * 0.9)
        canvas.stand(sprite, column, base, TREE)


def build(canvas: Canvas, sprite: Sprite, x: float, base: float) -> None:
    """Paint a building."""
    canvas.cast_shadow(x * canvas.width, base, sprite.width * 0.8, 0.35)
    canvas.stand(sprite, x * canvas.width, base, BUILDING)


def quadruped(canvas: Canvas, x: float, base: float, name: str, enlarged: float, largest: float) -> None:
    """Paint an animal, ``enlarged`` times life size but at most a share ``largest`` of the height."""
    kind, column = QUADRUPEDS[name], x * canvas.width
    metre = min(canvas.metre(base) * enlarged, largest * canvas.height / kind.height)
    canvas.cast_shadow(column, base, kind.height * (kind.length + 0.4) * metre)
    canvas.stand(draw_quadruped(canvas.rng, canvas.light, kind, metre), column, base, ANIMAL)
    paint_fringe(canvas, column, base, kind.height * (kind.length + 0.5) * metre)


def herd(
    canvas: Canvas, herds: tuple[str, ...], least: int, most: int, rows: tuple[float, float], enlarged: float
) -> None:
    """Paint ``least`` to ``most`` animals of one of the herds (names of species) at ``rows``, shares of the height."""
    rng = canvas.rng
    names = herds[rng.integers(len(herds))].split()
    count = int(rng.integers(least, most + 1))
    places = (rng.permutation(count) + rng.uniform(0.2, 0.8, count)) / count
    for base, x in sorted(zip(rng.uniform(*rows, count).tolist(), places.tolist(), strict=True)):
        quadruped(canvas, x, base * canvas.height, names[rng.integers(len(names))], enlarged, 0.36)


def swimmers(canvas: Canvas, most: int, first: float, last: float) -> None:
    """Paint one to ``most`` birds on the water between two rows, each with its mirror image."""
    for base in np.sort(canvas.rng.uniform(first, last, int(canvas.rng.integers(1, most + 1)))).tolist():
        column = canvas.rng.uniform(0.08, 0.92) * canvas.width
        sprite = draw_swimmer(canvas.rng, canvas.light, canvas.metre(base) * 1.3)
        mirrored = sprite.colours[::-1] * np.float32(0.75)
        left = round(column - sprite.foot)
        canvas.paint(mirrored, sprite.alpha[::-1] * np.float32(0.42), None, round(base) - 2, left)
        canvas.stand(sprite, column, base, ANIMAL)
