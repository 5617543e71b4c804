from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.core.score.confusion import many_to_one_matching, one_to_one_matching, score
from datus2_ray.core.score.counting import confusion_matrix
from tests.core.score.maps import maps, scored_pixels

UNMATCHED = 1000


def check_against_scikit_learn(scores, true, mapped, classes, present):
    """Compare with scikit-learn's scores of the mapped pixels; ``mapped`` is UNMATCHED where no class is predicted."""
    iou = sklearn.metrics.jaccard_score(true, mapped, labels=range(classes), average=None, zero_division=0)
    f1 = sklearn.metrics.f1_score(true, mapped, labels=range(classes), average=None, zero_division=0)
    accuracy = sklearn.metrics.recall_score(true, mapped, labels=range(classes), average=None, zero_division=0)
    assert scores["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(true, mapped))
    assert scores["miou"] == pytest.approx(iou[present].mean())
    assert scores["mean_f1"] == pytest.approx(f1[present].mean())
    assert scores["mean_accuracy"] == pytest.approx(accuracy[present].mean())
    assert [value is not None for value in scores["per_class_iou"]] == [c in present for c in range(classes)]
    np.testing.assert_allclose([v for v in scores["per_class_iou"] if v is not None], iou[present])


def every_matching(classes, clusters):
    """List all ways to give clusters classes of their own, as many as there can be."""
    if clusters <= classes:
        yield from itertools.permutations(range(classes), clusters)
        return
    for order in itertools.permutations(range(clusters), classes):
        yield tuple(order.index(k) if k in order else None for k in range(clusters))


@pytest.mark.parametrize(("classes", "clusters"), [(4, 2), (5, 4), (3, 3), (4, 4), (3, 5), (2, 6)])
@pytest.mark.parametrize("seed", range(8))
def test_the_matching_is_the_best_of_all(classes, clusters, seed):
    confusion = np.random.default_rng(seed).integers(0, 50, (classes, clusters + 1))
    best = max(
        sum(confusion[label, k] for k, label in enumerate(matching) if label is not None)
        for matching in every_matching(classes, clusters)
    )
    matching = one_to_one_matching(confusion)
    matched = [label for label in matching if label is not None]
    assert len(set(matched)) == len(matched) == min(classes, clusters)
    assert sum(confusion[label, k] for k, label in enumerate(matching) if label is not None) == best
    assert score(confusion)["one_to_one"]["pixel_accuracy"] == best / confusion.sum()


@settings(deadline=None)
@given(maps())
def test_scores_equal_those_of_scikit_learn_on_the_mapped_pixels(case):
    truth, predicted, classes, clusters = case
    confusion = confusion_matrix(truth, predicted, classes, clusters)
    true, cluster = scored_pixels(truth, predicted, classes)
    scores = score(confusion)
    if not len(true):
        assert scores["one_to_one"]["miou"] is None
        return
    present = np.unique(true)
    for rule, matching in (
        ("one_to_one", scores["matching"]),
        ("many_to_one", many_to_one_matching(confusion)),
    ):
        table = np.full(256, UNMATCHED)
        for k, label in enumerate(matching):
            table[k] = UNMATCHED if label is None else label
        check_against_scikit_learn(scores[rule], true, table[cluster], classes, present)
    assert scores["nmi"] == pytest.approx(sklearn.metrics.normalized_mutual_info_score(true, cluster), abs=1e-12)
    assert scores["ari"] == pytest.approx(sklearn.metrics.adjusted_rand_score(true, cluster), abs=1e-12)


@settings(deadline=None)
@given(maps())
def test_the_datus2_rule_equals_scikit_learn_on_the_pixels_that_it_keeps(case):
    truth, predicted, classes, clusters = case
    scores = score(confusion_matrix(truth, predicted, classes, clusters))
    true, cluster = scored_pixels(truth, predicted, classes)
    table = np.full(256, UNMATCHED)
    for k, label in enumerate(scores["matching"]):
        table[k] = UNMATCHED if label is None else label
    kept = cluster != 255
    if clusters > classes:
        kept &= table[cluster] != UNMATCHED
    if kept.any():
        assert scores["datus2"]["coverage"] == pytest.approx(kept.mean())
        check_against_scikit_learn(scores["datus2"], true[kept], table[cluster][kept], classes, np.unique(true))
    else:
        assert scores["datus2"]["miou"] is None
        assert not scores["datus2"]["coverage"]


def test_every_cluster_goes_to_its_most_frequent_class_the_lowest_of_equals():
    confusion = np.array([[5, 3, 0, 0, 9], [5, 4, 0, 1, 9], [4, 4, 0, 0, 9]])
    assert many_to_one_matching(confusion) == [0, 1, None, 1]


def test_noise_and_unmatched_clusters_are_missed_but_accuse_no_class():
    # Class 0: 6 pixels in cluster 0, 2 in the unmatched cluster 2, 2 noise. Class 1: 5 pixels in cluster 1.
    scores = score(np.array([[6, 0, 2, 2], [0, 5, 0, 0]]))
    assert scores["matching"] == [0, 1, None]
    assert scores["one_to_one"]["per_class_iou"] == [0.6, 1.0]
    assert scores["one_to_one"]["pixel_accuracy"] == 11 / 15
    assert scores["many_to_one"]["per_class_iou"] == [0.8, 1.0]
    assert scores["datus2"]["per_class_iou"] == [1.0, 1.0]
    assert scores["datus2"]["coverage"] == 11 / 15


def test_absent_classes_are_null_and_not_averaged():
    scores = score(np.array([[8, 2, 0], [0, 0, 0], [1, 9, 0]]))
    assert scores["one_to_one"]["per_class_iou"] == [8 / 11, None, 9 / 12]
    assert scores["one_to_one"]["miou"] == pytest.approx((8 / 11 + 9 / 12) / 2)
    assert scores["matching"] == [0, 2]


def test_a_class_lost_to_noise_counts_zero_in_the_datus2_rule():
    scores = score(np.array([[10, 0, 0], [0, 0, 7]]))
    assert scores["datus2"]["per_class_iou"] == [1.0, 0.0]
    assert scores["datus2"]["pixel_accuracy"] == 1.0
    assert scores["datus2"]["coverage"] == 10 / 17


def test_a_pair_without_a_common_pixel_is_no_match():
    assert score(np.array([[7, 0, 0], [0, 0, 3]]))["matching"] == [0, None]


def test_over_clustering_makes_the_datus2_rule_hide_errors():
    # 6 classes cut into 4 clusters each, all pure: one-to-one can name only the largest quarter of each class.
    confusion = np.zeros((6, 25), dtype=np.int64)
    for label in range(6):
        confusion[label, 4 * label : 4 * label + 4] = [40, 30, 20, 10]
    fine = score(confusion)
    coarse = score(
        np.column_stack([confusion[:, 4 * c : 4 * c + 4].sum(axis=1) for c in range(6)] + [np.zeros(6, int)])
    )
    assert coarse["one_to_one"]["miou"] == coarse["datus2"]["miou"] == coarse["datus2"]["coverage"] == 1.0
    assert fine["one_to_one"]["miou"] == pytest.approx(0.4)
    assert fine["datus2"]["miou"] == 1.0
    assert fine["datus2"]["coverage"] == pytest.approx(0.4)
    assert fine["many_to_one"]["miou"] == 1.0


def test_without_a_pixel_to_score_everything_is_null():
    scores = score(np.zeros((3, 5), dtype=np.int64))
    assert scores["matching"] == [None] * 4
    for rule in ("one_to_one", "many_to_one", "datus2"):
        assert scores[rule].pop("per_class_iou") == [None] * 3
        assert set(scores[rule].values()) == {None}
    assert scores["nmi"] is scores["ari"] is None


def test_the_keys_are_those_of_metrics_json_and_the_values_survive_json():
    scores = score(np.random.default_rng(0).integers(0, 9, (3, 6)))
    assert list(scores) == ["one_to_one", "many_to_one", "datus2", "nmi", "ari", "matching"]
    keys = ["miou", "pixel_accuracy", "mean_accuracy", "mean_f1", "per_class_iou"]
    assert list(scores["one_to_one"]) == list(scores["many_to_one"]) == keys
    assert list(scores["datus2"]) == [*keys, "coverage"]
    assert json.loads(json.dumps(scores)) == scores


@settings(deadline=None)
@given(maps(), st.randoms())
def test_the_numbers_of_clusters_do_not_matter(case, random):
    truth, predicted, classes, clusters = case
    confusion = confusion_matrix(truth, predicted, classes, clusters)
    order = random.sample(range(clusters), clusters)
    expected, scores = score(confusion), score(confusion[:, [*order, clusters]])
    assert scores["one_to_one"]["pixel_accuracy"] == expected["one_to_one"]["pixel_accuracy"]
    assert scores["many_to_one"] == expected["many_to_one"]
    assert scores["nmi"] == pytest.approx(expected["nmi"], abs=1e-12) or expected["nmi"] is None
    assert scores["ari"] == expected["ari"]


def camvid_masks(real_data, count):
    paths = sorted((real_data / "camvid" / "val" / "masks").iterdir())[:count]
    return [np.asarray(Image.open(path)) for path in paths]


def test_camvid_masks_against_themselves_are_perfect(real_data):
    shuffled = np.random.default_rng(0).permutation(11).astype(np.uint8)
    total = np.zeros((11, 12), dtype=np.int64)
    for truth in camvid_masks(real_data, 4):
        predicted = np.full_like(truth, 255)
        predicted[truth < 11] = shuffled[truth[truth < 11]]
        total += confusion_matrix(truth, predicted, 11, 11)
    scores = score(total)
    assert scores["one_to_one"]["miou"] == scores["many_to_one"]["miou"] == scores["datus2"]["coverage"] == 1.0
    assert scores["nmi"] == pytest.approx(1.0)
    assert scores["ari"] == 1.0
    assert [scores["matching"][shuffled[c]] for c in range(11) if total[c].any()] == np.flatnonzero(
        total.any(axis=1)
    ).tolist()


def test_shifted_camvid_masks_score_as_scikit_learn_says_and_fall_with_the_shift(real_data):
    masks = camvid_masks(real_data, 2)
    curve = []
    for shift in (1, 6, 24, 96):
        shifted = [np.roll(truth, (shift, 2 * shift), axis=(0, 1)) for truth in masks]
        predicted = [np.where(image == 11, 255, image).astype(np.uint8) for image in shifted]
        total = sum(confusion_matrix(t, p, 11, 11) for t, p in zip(masks, predicted, strict=True))
        scores = score(total)
        true, cluster = scored_pixels(np.stack(masks), np.stack(predicted), 11)
        table = np.full(256, UNMATCHED)
        for k, label in enumerate(scores["matching"]):
            table[k] = UNMATCHED if label is None else label
        check_against_scikit_learn(scores["one_to_one"], true, table[cluster], 11, np.unique(true))
        assert scores["nmi"] == pytest.approx(sklearn.metrics.normalized_mutual_info_score(true, cluster))
        assert scores["ari"] == pytest.approx(sklearn.metrics.adjusted_rand_score(true, cluster))
        assert scores["datus2"]["coverage"] == pytest.approx((cluster != 255).mean())
        curve.append(scores["one_to_one"]["miou"])
    assert curve == sorted(curve, reverse=True)
    # Poles and signs are a few pixels wide, so even a shift by one costs them much.
    assert curve[0] > 0.7
    assert curve[-1] < 0.4
