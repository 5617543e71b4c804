from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Series,
    draw_chart,
    moving_mean,
)

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


class Drawn:
    """What a browser finds in a chart."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)

    def all(self, tag: str) -> list[ElementTree.Element]:
        return [element for element in self.root.iter() if element.tag.rpartition("}")[2] == tag]

    @property
    def points(self) -> list[tuple[float, ...]]:
        return [tuple(map(float, p.split(","))) for line in self.all("polyline") for p in line.get("points").split()]

    @property
    def dots(self) -> list[tuple[float, float]]:
        return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in self.all("circle")]

    @property
    def texts(self) -> list[str]:
        return [text.text or "" for text in self.all("text")]

    def labels(self, anchor: str) -> list[str]:
        return [text.text for text in self.all("text") if text.get("text-anchor") == anchor]


def drawn(*series: Series, **options) -> Drawn:
    return Drawn(draw_chart("t", "x", "y", series, **options).svg)


@given(numbers, st.integers(1, 60))
def test_the_moving_mean_is_that_of_the_last_values(values, width):
    naive = [np.mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]
    np.testing.assert_allclose(moving_mean(np.array(values), width), naive, atol=1e-6)


@given(numbers, st.floats(0, 100))
def test_all_that_is_drawn_lies_within_the_frame(values, error):
    y = np.array(values)
    series = Series("s", "raw", np.arange(len(y)), y, dots=True, errors=np.full(len(y), error))
    chart = drawn(series, mark=float(len(y) - 1))
    ends = [
        (float(x), float(end))
        for bar in chart.all("path")[0].get("d")[1:].split(" M")
        for x, rest in [bar.removeprefix("M").split(" ")]
        for end in rest.split("V")
    ]
    grid = [(float(line.get(f"x{i}")), float(line.get(f"y{i}"))) for line in chart.all("line") for i in (1, 2)]
    for x, y in [*chart.points, *chart.dots, *ends, *grid]:
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_higher_values_are_higher_up_and_ticks_are_where_the_values_are():
    chart = drawn(Series("s", "raw", np.arange(11), np.arange(11) * 100.0))
    heights = [b for _, b in chart.points]
    assert heights == sorted(heights, reverse=True)
    assert chart.labels("end") == ["0", "200", "400", "600", "800", "1,000", "x", "y"]
    assert [float(line.get("y1")) for line in chart.all("line")] == pytest.approx(heights[::2], abs=0.1)
    assert chart.labels("middle") == ["0", "2", "4", "6", "8", "10"]


@pytest.mark.parametrize("scale", [1e-7, 0.003, 1.0, 7e5])
def test_ticks_are_few_and_round(scale):
    for high in (1.0, 1.3, 2.5, 6.0, 9.9):
        labels = drawn(Series("s", "raw", np.array([0.0, high * scale]), np.arange(2)), whole_x=False).labels("middle")
        assert 3 <= len(labels) <= 8
        digits = {f"{float(label.replace(',', '')):.1e}"[0] for label in labels[1:2]}
        assert digits <= {"1", "2", "5"}


def test_a_single_point_is_drawn():
    chart = drawn(Series("s", "raw", np.array([1]), np.array([0.5]), dots=True))
    assert len(chart.dots) == 1
    assert chart.labels("middle") == ["1"]


def test_a_long_curve_becomes_short_and_keeps_its_mean():
    x = np.arange(10 * MAX_POINTS)
    assert len(drawn(Series("s", "raw", x, np.full(len(x), 3.0))).points) == MAX_POINTS


def test_named_rows_go_down_in_their_order_with_error_bars_along_the_value():
    names = ["best", "<b>without</b> & alone"]
    series = Series("s", "initial", np.array([20.0, 10.0]), np.arange(2), dots=True, line=False, errors=np.ones(2))
    chart = drawn(series, rows=names)
    assert chart.labels("end")[:2] == names
    (first, second) = chart.dots
    assert first[0] > second[0]
    assert first[1] < second[1]
    start, end = chart.all("path")[0].get("d").split(" M")[0][1:].split("H")
    assert float(start.split()[0]) < first[0] < float(end)
    assert float(start.split()[1]) == first[1]
    assert not chart.all("polyline")


def test_a_file_has_its_own_styles_and_legend():
    series = [Series(name, name, np.arange(3), np.arange(3), dots=True) for name in ("initial", "refined")]
    file = Drawn(draw_chart("title", "x", "y", series).file())
    assert file.root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"initial", "refined", "x", "y"} <= set(file.texts)
    style = file.all("style")[0].text
    assert all(f".{element.get('class')} {{" in style for element in file.all("polyline"))
