"""Outlines: a region of pixels as one closed polygon, exactly, for formats that have polygons and no masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: From an edge on the border of a region to the centres of the pixels inside it: x, y. Edges go around the region with
#: its pixels on their right-hand side: 0 right, 1 down, 2 left, 3 up, where y points down.
_INWARD = np.array([(0.0, 0.5), (-0.5, 0.0), (0.0, -0.5), (0.5, 0.0)])


def trace(region: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Trace the borders of a region through the centres of its border pixels.

    A program that fills a polygon and paints its border, such as OpenCV's ``fillPoly``, gets the region back from them
    to the pixel.

    Parameters
    ----------
    region : bool [H, W]
        One region that is connected over the sides of pixels.

    Returns
    -------
    list of ndarray
        Corners of a closed ring each, x and y in pixels, float64 [n, 2]; the centre of the first pixel is (0.5, 0.5).
        The outer border comes first and goes round clockwise; the others are those of holes.
    """
    padded = np.pad(region, 1)
    inside = padded[1:-1, 1:-1]
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))  # x and y from a pixel's first corner to the begin of each of its edges
    outside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    width = inside.shape[1] + 1
    number = np.full((4, (inside.shape[0] + 1) * width), -1)
    begins: list[NDArray[np.int64]] = []
    directions: list[NDArray[np.int64]] = []
    for side, (neighbour, (x, y)) in enumerate(zip(outside, starts, strict=True)):
        row, column = np.nonzero(inside & ~neighbour)
        number[side, (row + y) * width + column + x] = np.arange(len(row)) + sum(len(found) for found in begins)
        begins.append((row + y) * width + column + x)
        directions.append(np.full(len(row), side))
    begin, direction = np.concatenate(begins), np.concatenate(directions)
    end = begin + np.array([1, width, -1, -width])[direction]
    following = np.full(len(begin), -1)
    # Where two pixels touch at a corner only, the border turns right and stays with its own pixel.
    for turn in (3, 0, 1):
        found = number[(direction + turn) % 4, end]
        following = np.where(found >= 0, found, following)
    corner = direction[following] != direction
    points = np.stack([end % width, end // width], axis=1) + _INWARD[direction] + _INWARD[direction[following]]
    return [points[ring][corner[ring]] for ring in _cycles(following)]


def _cycles(following: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the cycles of a permutation; the first one has number 0, the upper edge of the region's first pixel."""
    step, seen, rings = following.tolist(), np.zeros(len(following), bool), []
    for first in range(len(step)):
        if seen[first]:
            continue
        ring, at = [first], step[first]
        while at != first:
            ring.append(at)
            at = step[at]
        seen[ring] = True
        rings.append(np.array(ring))
    return rings


def join_rings(rings: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Join the border of a region and those of its holes, as :func:`trace` returns them, to one polygon.

    Each hole is cut open by a line to the left that is walked twice: there and back. It runs over pixels of the region
    only, so that a program that paints borders changes none.

    Returns
    -------
    ndarray
        Corners, x and y in pixels, float64 [n, 2].
    """
    outer, *holes = rings
    polygon = outer
    # From left to right: what lies to the left of a hole has been joined when it is its turn.
    for hole in sorted((np.roll(ring, -_leftmost(ring), axis=0) for ring in holes), key=lambda ring: tuple(ring[0])):
        x, y = hole[0]
        after = np.roll(polygon, -1, axis=0)
        low, high = np.minimum(polygon, after), np.maximum(polygon, after)
        hit = (low[:, 0] == high[:, 0]) & (low[:, 0] <= x) & (low[:, 1] <= y) & (y <= high[:, 1])
        at = np.flatnonzero(hit)[polygon[hit, 0].argmax()]
        door = np.array([[polygon[at, 0], y]])
        polygon = np.concatenate([polygon[: at + 1], door, hole, hole[:1], door, polygon[at + 1 :]])
    return polygon


def _leftmost(ring: NDArray[np.float64]) -> int:
    return int(np.lexsort((ring[:, 1], ring[:, 0]))[0])
