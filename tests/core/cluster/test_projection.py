from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datus2_ray.core.cluster.kmeans import LocalShards
from datus2_ray.core.cluster.projection import fit_projection

X = load_digits(return_X_y=True)[0]


def fit(scaling, components):
    asked = []

    def hold(projection):
        asked.append(projection)
        return nullcontext(LocalShards(np.array_split(projection.transform(X), 3)))

    return fit_projection(hold, scaling, components), len(asked)


@pytest.mark.parametrize("scaling", ["none", "centred", "standardised"])
@pytest.mark.parametrize("components", [None, 9])
def test_projection_equals_a_pipeline_of_scikit_learn(scaling, components):
    steps = [] if scaling == "none" else [StandardScaler(with_std=scaling == "standardised")]
    steps += [] if components is None else [PCA(components, svd_solver="full")]
    projection, asked = fit(scaling, components)
    assert asked == len(steps)
    expected = make_pipeline(*steps).fit_transform(X) if steps else X
    np.testing.assert_allclose(projection.transform(X), expected, atol=1e-8)


def test_nothing_to_do_gives_the_rows_themselves():
    projection, _ = fit("none", None)
    assert projection.transform(X) is X
