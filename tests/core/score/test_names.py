"""Scores of names: by the name where there is one, else by the most frequent class."""

from __future__ import annotations

import numpy as np
import pytest

from datus2_ray.core.score.names import match_names, score_names


def test_a_class_counts_as_the_one_of_its_name_whatever_its_pixels_say() -> None:
    confusion = np.array([[1, 9, 4, 0, 2], [5, 0, 1, 0, 3]])
    matching, by_name = match_names(["Road", "car"], ["ROAD", "Car", "lorry", "nothing"], confusion)
    assert (matching, by_name) == ([0, 1, 0, None], 2)


def test_pixels_without_a_class_are_wrong_and_not_covered() -> None:
    confusion = np.array([[6, 0, 2], [1, 3, 0]])
    scores = score_names({"named": confusion}, ["road", "car"], ["road", "car"])["named"]
    assert scores["pixel_accuracy"] == pytest.approx(9 / 12)
    assert scores["coverage"] == pytest.approx(10 / 12)
    assert scores["per_class_iou"] == pytest.approx([6 / 9, 3 / 4])
    assert (scores["by_name"], scores["matching"]) == (2, [0, 1])
    # Two names of one class add up.
    both = score_names({"named": confusion}, ["road", "car"], ["road", "street"])["named"]
    assert both["matching"] == [0, 1]
    assert score_names({"named": np.zeros((2, 1), int)}, ["road", "car"], [])["named"]["coverage"] is None
