from __future__ import annotations

import numpy as np

from datus2_ray.core.score.confusion import score
from datus2_ray.report.scores import COLUMNS, class_rows, column_groups, score_rows, verdict


def metrics_of(**confusions):
    sets = {name: score(np.array(confusion)) for name, confusion in confusions.items()}
    return {"classes": ["a", "b"], "clusters": 2, "seed": 0, "images": 1, **sets}


GOOD = [[0, 90, 10], [100, 0, 0]]
BAD = [[50, 50, 0], [50, 50, 0]]


def test_rows_come_in_the_order_of_the_method_and_mark_the_best():
    rows = score_rows(metrics_of(token_kmeans_merged=BAD, token_kmeans=BAD, refined=GOOD, initial=BAD))
    assert [row.key for row in rows] == ["initial", "refined", "token_kmeans", "token_kmeans_merged"]
    best = {row.key: [is_best for _, is_best in row.cells] for row in rows}
    names = [name for _, name, _ in COLUMNS]
    assert best["refined"] == [name != "coverage" for name in names]
    assert not any(best["initial"])


def test_a_lone_row_is_not_the_best_of_anything():
    (row,) = score_rows(metrics_of(initial=GOOD))
    assert not any(is_best for _, is_best in row.cells)
    assert row.cells[1][0] == 0.95


def test_groups_span_all_columns():
    assert sum(span for _, span in column_groups()) == len(COLUMNS)


def test_a_class_names_the_cluster_that_is_matched_to_it():
    rows = class_rows(metrics_of(initial=GOOD, token_kmeans=[[0, 5, 0], [0, 0, 0]]))
    assert [row.name for row in rows] == ["a", "b"]
    assert [row.clusters for row in rows] == [[1, 1], [0, None]]
    assert rows[0].iou == [0.9, 1.0]
    assert rows[1].iou[1] is None


def test_the_verdict_says_above_and_below():
    text = verdict(metrics_of(initial=BAD, refined=GOOD, token_kmeans=GOOD))
    assert "refined masks reach an mIoU of 95.0 %" in text
    assert "points above the initial masks" in text
    assert text.endswith("above the initial masks and level with plain k-means on patch tokens.")
    text = verdict(metrics_of(initial=BAD, refined=GOOD, token_kmeans=BAD, token_kmeans_merged=GOOD))
    assert "above plain k-means on patch tokens and level with merged k-means on patch tokens." in text
    assert "points below plain k-means" in verdict(metrics_of(initial=BAD, token_kmeans=GOOD))


def test_without_a_pixel_to_score_the_verdict_says_so():
    nothing = [[0, 0, 0], [0, 0, 0]]
    assert "nothing to score" in verdict(metrics_of(initial=nothing, token_kmeans=nothing))
    assert all(value is None for value, _ in score_rows(metrics_of(initial=nothing))[0].cells)
