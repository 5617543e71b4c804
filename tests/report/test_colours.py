from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datus2_ray.core.images.palette import palette
from datus2_ray.report.colours import HATCHES, class_colours, cluster_colours, paint_labels, to_hex
from datus2_ray.sources.layouts import known


@settings(deadline=None)  # the palette is made once
@given(st.lists(st.none() | st.integers(0, 10), min_size=1, max_size=40))
def test_a_cluster_has_the_colour_of_its_class_or_one_that_no_class_has(matching):
    classes = class_colours("camvid", 11)
    clusters = cluster_colours(len(matching), matching, classes)
    taken = {tuple(colour) for colour in classes.rgb.tolist()}
    for cluster, label in enumerate(matching):
        assert clusters.striped[cluster] == (label is None)
        if label is None:
            assert tuple(clusters.rgb[cluster].tolist()) not in taken
        else:
            np.testing.assert_array_equal(clusters.rgb[cluster], classes.rgb[label])


def test_clusters_without_a_class_differ_from_each_other():
    clusters = cluster_colours(300, [None] * 300, class_colours("suim", 8))
    assert len(np.unique(clusters.rgb, axis=0)) == 300


def test_without_ground_truth_the_colours_are_those_of_the_exported_masks():
    np.testing.assert_array_equal(cluster_colours(30, None, None).rgb, palette(30))


@pytest.mark.parametrize("dataset", list(known.DATASETS))
def test_a_data_set_keeps_its_own_colours(dataset):
    own = known.find(dataset).palette
    n = 5 if own is None else len(own)
    np.testing.assert_array_equal(class_colours(dataset, n).rgb, palette(5) if own is None else own)


@pytest.mark.parametrize(("dtype", "noise"), [(np.uint8, 255), (np.uint16, 65535)])
def test_noise_is_a_hatch_and_clusters_are_flat(dtype, noise):
    colours = cluster_colours(3, None, None)
    labels = np.repeat(np.array([[0, 1, 2, noise]], dtype), 10, axis=1).repeat(16, axis=0)
    painted = paint_labels(labels, colours, "noise")
    for cluster in range(3):
        assert (painted[labels == cluster] == colours.rgb[cluster]).all()
    assert {tuple(colour) for colour in painted[labels == noise].tolist()} == set(HATCHES["noise"])


def test_most_of_a_striped_cluster_keeps_its_colour():
    colours = cluster_colours(1, [None], class_colours("folder", 2))
    painted = paint_labels(np.zeros((64, 64), np.uint8), colours, "noise")
    assert (painted == colours.rgb[0]).all(axis=2).mean() == 0.75


def test_hex():
    assert to_hex((0, 128, 255)) == "#0080ff"
