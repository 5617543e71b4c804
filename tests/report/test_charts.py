from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.report.charts import MOST_POINTS, Series, draw_chart, moving_mean

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def places(curve):
    return [tuple(map(float, point.split(","))) for point in curve.points.split()]


@given(numbers, st.integers(1, 60))
def test_the_moving_mean_is_that_of_the_last_values(values, width):
    naive = [np.mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]
    np.testing.assert_allclose(moving_mean(np.array(values), width), naive, atol=1e-6)


@given(numbers)
def test_all_that_is_drawn_lies_within_the_frame(values):
    y = np.array(values)
    chart = draw_chart("t", "x", "y", [Series("s", "raw", np.arange(len(y)), y, dots=True)], mark=float(len(y) - 1))
    for a, b in [*places(chart.curves[0]), *chart.curves[0].dots]:
        assert chart.left <= a <= chart.right
        assert chart.top <= b <= chart.bottom
    assert all(chart.left <= place <= chart.right for place, _ in chart.x_ticks)
    assert all(chart.top <= place <= chart.bottom for place, _ in chart.y_ticks)
    assert chart.left <= chart.mark <= chart.right


def test_higher_values_are_higher_up_and_ticks_are_where_the_values_are():
    chart = draw_chart("t", "x", "y", [Series("s", "raw", np.arange(11), np.arange(11) * 100.0)])
    heights = [b for _, b in places(chart.curves[0])]
    assert heights == sorted(heights, reverse=True)
    assert [label for _, label in chart.y_ticks] == ["0", "200", "400", "600", "800", "1,000"]
    assert [place for place, _ in chart.y_ticks] == pytest.approx(heights[::2], abs=0.1)
    assert [label for _, label in chart.x_ticks] == ["0", "2", "4", "6", "8", "10"]


def test_a_single_point_is_drawn():
    chart = draw_chart("t", "x", "y", [Series("s", "raw", np.array([1]), np.array([0.5]), dots=True)])
    assert len(chart.curves[0].dots) == 1
    assert [label for _, label in chart.x_ticks] == ["1"]


def test_a_long_curve_becomes_short_and_keeps_its_mean():
    x = np.arange(10 * MOST_POINTS)
    chart = draw_chart("t", "x", "y", [Series("s", "raw", x, np.full(len(x), 3.0))])
    assert len(places(chart.curves[0])) == MOST_POINTS
