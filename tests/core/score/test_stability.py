"""Agreement of label maps: scikit-learn's index, whatever the numbers of the clusters, noise and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score

from datus2_ray.core.score.stability import agreement

CLUSTERS = 4
MAPS = arrays(np.uint8, (2, 3, 4, 5), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(MAPS)
def test_equals_scikit_learn_over_all_images_together(maps: np.ndarray) -> None:
    here, there = maps
    theirs = adjusted_rand_score(here.ravel(), there.ravel())
    assert agreement(here, there, CLUSTERS) == pytest.approx(theirs)


@given(MAPS, st.permutations(range(CLUSTERS)))
def test_numbers_of_clusters_mean_nothing(maps: np.ndarray, order: list[int]) -> None:
    here, there = maps
    renamed = np.array([*order, *[255] * 252], dtype=np.uint8)[there]
    assert agreement(here, renamed, CLUSTERS) == agreement(here, there, CLUSTERS)


def test_many_clusters_have_noise_of_their_own() -> None:
    here = np.array([[0, 299, 65535]], dtype=np.uint16)
    assert agreement([here], [here], 300) == 1
