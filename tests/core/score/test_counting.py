from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.core.score.counting import confusion_matrix
from tests.core.score.maps import maps, scored_pixels


@settings(deadline=None)
@given(maps())
def test_the_confusion_matrix_is_that_of_scikit_learn(case):
    truth, predicted, classes, clusters = case
    confusion = confusion_matrix(truth, predicted, classes, clusters)
    true, column = scored_pixels(truth, predicted, classes)
    column[column == 255] = clusters
    assert confusion.dtype == np.int64
    assert confusion.shape == (classes, clusters + 1)
    if len(true):
        size = max(classes, clusters + 1)
        expected = sklearn.metrics.confusion_matrix(true, column, labels=range(size))
        assert (confusion == expected[:classes, : clusters + 1]).all()
    else:
        assert not confusion.any()


@settings(deadline=None)
@given(maps(), st.integers(0, 9))
def test_matrices_of_parts_add_up_to_the_matrix_of_the_whole(case, cut):
    truth, predicted, classes, clusters = case
    whole = confusion_matrix(truth, predicted, classes, clusters)
    above = confusion_matrix(truth[:cut], predicted[:cut], classes, clusters)
    assert (whole == above + confusion_matrix(truth[cut:], predicted[cut:], classes, clusters)).all()


@settings(deadline=None)
@given(maps())
def test_views_that_are_not_contiguous_count_the_same(case):
    truth, predicted, classes, clusters = case
    expected = confusion_matrix(truth, predicted, classes, clusters)
    assert (confusion_matrix(truth[::-1, ::-1], predicted[::-1, ::-1], classes, clusters) == expected).all()
    assert (confusion_matrix(truth.T, predicted.T, classes, clusters) == expected).all()


@given(maps())
def test_sixteen_bit_maps_count_the_same(case):
    truth, predicted, classes, clusters = case
    wide = np.where(predicted == 255, 65535, predicted.astype(np.uint16)).astype(np.uint16)
    expected = confusion_matrix(truth, predicted, classes, clusters)
    assert (confusion_matrix(truth.astype(np.uint16), wide, classes, clusters) == expected).all()
    assert (confusion_matrix(truth, wide, classes, clusters) == expected).all()


def test_more_than_254_clusters_need_sixteen_bits():
    predicted = np.array([[255, 299, 65535]], dtype=np.uint16)
    confusion = confusion_matrix(np.zeros((1, 3), np.uint8), predicted, 1, 300)
    assert np.flatnonzero(confusion[0]).tolist() == [255, 299, 300]


def test_a_value_that_is_neither_a_cluster_nor_noise_is_refused():
    for value in (3, 4, 254):
        with pytest.raises(ValueError, match=f"cluster {value} in a prediction of 3 clusters"):
            confusion_matrix(np.zeros((1, 2), np.uint8), np.array([[0, value]], dtype=np.uint8), 2, 3)
    with pytest.raises(ValueError, match=r"ground truth is \(2, 1\) and the prediction is \(1, 2\)"):
        confusion_matrix(np.zeros((2, 1), np.uint8), np.zeros((1, 2), np.uint8), 2, 3)
