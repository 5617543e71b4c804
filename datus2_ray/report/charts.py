"""Curves as numbers for the template's inline SVG, whose colours and fonts are those of the page, light or dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 46

#: Points of a curve; a longer one is drawn by the means of so many stretches.
MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """A curve in its own units.

    Parameters
    ----------
    name : str
        What the legend says.
    style : str
        CSS class that it is drawn in.
    x, y : ndarray
        Its points, shape (n,).
    dots : bool
        Whether every point gets a dot.
    """

    name: str
    style: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False


@dataclass(frozen=True)
class Curve:
    """A curve in the picture: SVG points, and the places of its dots."""

    name: str
    style: str
    points: str
    dots: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A picture of curves, in SVG units: ticks are places with their labels, marks are places of vertical lines."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    curves: list[Curve]
    mark: float | None
    mark_name: str
    note: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    mark: float | None = None,
    mark_name: str = "",
    note: str = "",
) -> Chart:
    """Lay out curves.

    Parameters
    ----------
    title, x_label, y_label : str
        What is shown.
    series : sequence of Series
        The curves; at least one has a point.
    mark : float, optional
        Where on the x axis a vertical line stands, and
    mark_name : str
        what the legend says of it.
    note : str
        What the curves mean.
    """
    all_x, all_y = (np.concatenate([getattr(one, axis) for one in series]) for axis in ("x", "y"))
    x_low, x_high = _span(all_x, 0.0)
    y_low, y_high = _span(all_y, 0.05)

    def across(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1)

    curves = []
    for one in series:
        x, y = _thin(one.x), _thin(one.y)
        places = [(across(a), down(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        points = " ".join(f"{a},{b}" for a, b in places)
        curves.append(Curve(one.name, one.style, points, places if one.dots else []))
    ends = "; ".join(f"{one.name} from {one.y[0]:.4g} to {one.y[-1]:.4g}" for one in series if len(one.y))
    return Chart(
        title=title,
        description=f"{title}: {ends}",
        x_label=x_label,
        y_label=y_label,
        x_ticks=[(across(v), f"{v:,g}") for v in _ticks(x_low, x_high, whole=True)],
        y_ticks=[(down(v), f"{v:,.6g}") for v in _ticks(y_low, y_high, whole=False)],
        curves=curves,
        mark=None if mark is None else across(mark),
        mark_name=mark_name,
        note=note,
    )


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Average every value with those before it, at most `width` in all; shape (n,)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _span(values: np.ndarray, margin: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def _ticks(low: float, high: float, whole: bool) -> list[float]:
    values = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1).tick_values(low, high)
    rounded = [float(f"{value:.12g}") for value in values if low <= value <= high]
    return [value for value in rounded if value.is_integer()] if whole else rounded


def _thin(values: np.ndarray) -> np.ndarray:
    if len(values) <= MOST_POINTS:
        return values
    return np.array([stretch.mean() for stretch in np.array_split(values, MOST_POINTS)])
