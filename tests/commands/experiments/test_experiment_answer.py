"""Table and chart of an experiment, from results that nobody had to run."""

from __future__ import annotations

import re
import statistics
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from datus2_ray.commands.experiments.answer import chart, rows, table
from datus2_ray.commands.experiments.run import Result
from datus2_ray.commands.experiments.variants import Variant


def result(variant: str, value: float | None, seed: int, miou: float, **others: float) -> Result:
    def scores(value: float) -> dict[str, Any]:
        pair = {"miou": value, "pixel_accuracy": value + 0.3}
        return {"one_to_one": pair, "many_to_one": pair}

    metrics = {name: scores(score) for name, score in {"initial": miou, **others}.items()}
    summary = {"images": 4, "segments": 100, "seconds_per_row": {"discover": 0.5}, "metrics": metrics}
    return Result(Variant(variant, value=value), seed, summary)


SWEEP = [result(f"K = {k}", k, seed, 0.1 + k / 100 + seed / 50, refined=0.4) for k in (6, 9, 12) for seed in (0, 1)]


def elements(svg: str, tag: str) -> list[ElementTree.Element]:
    return [element for element in ElementTree.fromstring(svg.encode()).iter() if element.tag.endswith(f"}}{tag}")]


def test_seeds_become_mean_and_sample_deviation() -> None:
    first = rows(SWEEP)[0]
    assert first.miou["initial"] == pytest.approx((17.0, statistics.stdev([16.0, 18.0]), 2))
    assert first.pixel_accuracy["initial"][0] == pytest.approx(47.0)
    assert first.miou["refined"] == (40.0, 0.0, 2)
    assert (first.segments, first.seconds) == (25.0, 0.5)
    assert "| K = 6 | 17.0 ± 1.4 / 47.0 ± 1.4 | 40.0 ± 0.0 / 70.0 ± 0.0 | 25.0 | 0.500 |" in table(rows(SWEEP))
    assert "token" not in table(rows(SWEEP))


def test_a_sweep_is_a_curve_per_set_with_an_error_bar_per_point() -> None:
    svg = chart("clusters", rows(SWEEP)).file()
    curves = {curve.get("class"): curve.get("points", "").split() for curve in elements(svg, "polyline")}
    assert {name: len(points) for name, points in curves.items()} == {"initial": 3, "refined": 3}
    heights = [float(point.split(",")[1]) for point in curves["initial"]]
    assert heights == sorted(heights, reverse=True)
    bars = {path.get("class"): re.findall(r"M(\S+) (\S+)V(\S+)", path.get("d", "")) for path in elements(svg, "path")}
    for (x, low, high), point in zip(bars["initial"], curves["initial"], strict=True):
        assert x == point.split(",")[0]
        assert float(high) < float(point.split(",")[1]) < float(low)
    assert all(low == high for _, low, high in bars["refined"])
    assert {"initial", "refined", "mIoU one-to-one in %, mean ± std"} <= {text.text for text in elements(svg, "text")}


def test_variants_without_order_are_named_rows() -> None:
    names = ["best", "<b> & alone", "nothing merged"]
    svg = chart("ablation", rows([result(name, None, 0, 0.1 * i) for i, name in enumerate(names)])).file()
    assert [text.text for text in elements(svg, "text")][1:4] == names
    dots = [float(dot.get("cx", "")) for dot in elements(svg, "circle")[1:]]
    assert dots == sorted(dots)
    assert not elements(svg, "polyline")
