"""Charts as SVG: curves over a number, or points per named row, with error bars; inline in a page or as a file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 46

#: SVG units per named row, and per character of a name.
ROW_HEIGHT, CHARACTER_WIDTH = 30, 6.6

#: Points of a curve; a longer one is drawn by the means of this many pieces.
MAX_POINTS = 400

#: Colours of a chart outside of a page; in a page its style sheet sets them.
STYLE = """text { font: 12.5px sans-serif; fill: #5b6470 } .grid { stroke: #e0e1dc }
polyline, path { fill: none; stroke-width: 2 } circle { fill: #ffffff; stroke-width: 2 }
.initial { stroke: #4470c4 } .refined { stroke: #0b8268 } .token_kmeans { stroke: #8b929c }
.token_kmeans_merged { stroke: #a67c3d } .probe { stroke: #b3446c }"""

_Y_TICK = Markup(
    '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
    '<text x="{text_x}" y="{text_y}" text-anchor="end">{label}</text>'
)
_X_TICK = Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>')
_X_LABEL = Markup('<text x="{}" y="{}" text-anchor="end">{}</text>')
_Y_LABEL = Markup('<text x="{}" y="13" text-anchor="end" transform="rotate(-90)">{}</text>')
_MARK = Markup('<line class="mark" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
_ERRORS = Markup('<path class="{}" d="{}"/>')
_CURVE = Markup('<polyline class="{}" points="{}"/>')
_DOT = Markup('<circle class="{}" cx="{}" cy="{}" r="3.5"/>')
_INLINE = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
_KEY = Markup('<circle class="{}" cx="{}" cy="18" r="3.5"/><text x="{}" y="22">{}</text>')
_FILE = Markup(
    '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
    'width="{width}" height="{height}"><title>{title}</title><style>{style}</style>'
    '<rect width="100%" height="100%" fill="#ffffff"/>{keys}<g transform="translate(0,30)">{body}</g></svg>\n'
)


@dataclass(frozen=True)
class Series:
    """Points of shape (n,) in the units of the axes, connected by a line or not.

    ``style`` is a CSS class; ``errors`` are half the lengths of error bars, along x in a chart of named rows, else y.
    """

    name: str
    style: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False
    line: bool = True
    errors: np.ndarray | None = None


@dataclass(frozen=True)
class Chart:
    """A drawn chart; ``legend`` has a CSS class and a name per series."""

    title: str
    description: str
    note: str
    width: float
    height: float
    body: Markup
    legend: list[tuple[str, str]]

    @property
    def svg(self) -> Markup:
        """The chart as an element of a page, without its legend."""
        return _INLINE.format(self.width, self.height, self.description, self.body)

    def file(self) -> str:
        """Return the chart and its legend as an SVG file."""
        keys, x = Markup(), 16.0
        for style, name in self.legend:
            keys += _KEY.format(style, x, x + 9, name)
            x += round(34 + CHARACTER_WIDTH * len(name))
        height = self.height + 30
        return _FILE.format(
            width=self.width, height=height, title=self.description, style=Markup(STYLE), keys=keys, body=self.body
        )


def draw_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    *,
    whole_x: bool = True,
    rows: Sequence[str] = (),
    mark: float | None = None,
    mark_name: str = "",
    note: str = "",
) -> Chart:
    """Draw series, at least one of which has a point.

    Parameters
    ----------
    title, x_label, y_label, note : str
        Texts.
    series : sequence of Series
        The data.
    whole_x : bool
        Whether ticks of the x axis are whole numbers only.
    rows : sequence of str
        Names of rows from top to bottom: the y of a point then is the number of its row, from 0.
    mark, mark_name : float, str
        Where a vertical line is drawn, if any, and its name in the legend.
    """
    width, height, left = WIDTH, HEIGHT, float(LEFT)
    x_low, x_high = _span([_ends(one.x, one.errors if rows else None) for one in series], 0.05 if rows else 0.0)
    y_low, y_high = _span([_ends(one.y, None if rows else one.errors) for one in series], 0.05)
    y_ticks = [(value, f"{value:,.6g}") for value in _ticks(y_low, y_high, whole=False)]
    if rows:
        left = 20 + CHARACTER_WIDTH * max(map(len, rows))
        width, height = round(left) + 420, TOP + BOTTOM + ROW_HEIGHT * len(rows)
        y_low, y_high = len(rows) - 0.5, -0.5
        y_ticks = list(enumerate(rows))
    right, bottom = width - RIGHT, height - BOTTOM

    def across(x: float) -> float:
        return round(left + (x - x_low) / (x_high - x_low) * (right - left), 1)

    def down(y: float) -> float:
        return round(TOP + (y_high - y) / (y_high - y_low) * (bottom - TOP), 1)

    body = Markup()
    for value, label in y_ticks:
        y = down(value)
        body += _Y_TICK.format(left=left, right=right, y=y, text_x=left - 8, text_y=y + 4, label=label)
    for value in _ticks(x_low, x_high, whole=whole_x and not rows):
        body += _X_TICK.format(across(value), bottom + 18, f"{value:,g}")
    body += _X_LABEL.format(right, height - 8, x_label) + _Y_LABEL.format(-TOP, y_label)
    if mark is not None:
        body += _MARK.format(x=across(mark), top=TOP, bottom=bottom)
    for one in series:
        points = [(across(x), down(y)) for x, y in zip(_thin(one.x), _thin(one.y), strict=True)]
        if one.errors is not None:
            bars = zip(one.x.tolist(), one.y.tolist(), one.errors.tolist(), strict=True)
            path = " ".join(
                f"M{across(x - e)} {down(y)}H{across(x + e)}" if rows else f"M{across(x)} {down(y - e)}V{down(y + e)}"
                for x, y, e in bars
            )
            body += _ERRORS.format(one.style, path)
        if one.line:
            body += _CURVE.format(one.style, " ".join(f"{x},{y}" for x, y in points))
        if one.dots:
            body += Markup().join(_DOT.format(one.style, x, y) for x, y in points)
    ends = "; ".join(f"{one.name} from {one.y[0]:.4g} to {one.y[-1]:.4g}" for one in series if len(one.y) and not rows)
    legend = [(one.style, one.name) for one in series] + ([] if mark is None else [("mark", mark_name)])
    return Chart(title, f"{title}: {ends}" if ends else title, note, width, height, body, legend)


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Average every value with those before it, at most `width` in all; shape (n,)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    means: np.ndarray = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _ends(values: np.ndarray, errors: np.ndarray | None) -> np.ndarray:
    return values if errors is None else np.concatenate([values - errors, values + errors])


def _span(values: Sequence[np.ndarray], margin: float) -> tuple[float, float]:
    joined = np.concatenate(values)
    low, high = float(joined.min()), float(joined.max())
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):  # ticks have twelve digits
        return low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


def _ticks(low: float, high: float, whole: bool) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten, at most seven."""
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= (high - low) / 6 * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    multiples = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [float(f"{multiple * step:.12g}") for multiple in multiples]


def _thin(values: np.ndarray) -> list[float]:
    if len(values) > MAX_POINTS:
        values = np.array([piece.mean() for piece in np.array_split(values, MAX_POINTS)])
    points: list[float] = values.tolist()
    return points
