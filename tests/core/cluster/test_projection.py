from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from datus2_ray.core.cluster.projection import fit_projection
from datus2_ray.core.cluster.rows import LocalRows

X = load_digits(return_X_y=True)[0]


@pytest.mark.parametrize("scaling", ["none", "centred", "standardised"])
@pytest.mark.parametrize("components", [None, 9])
def test_projection_equals_a_pipeline_of_scikit_learn_and_leaves_the_rows_projected(scaling, components):
    steps = [] if scaling == "none" else [StandardScaler(with_std=scaling == "standardised")]
    steps += [] if components is None else [PCA(components, svd_solver="full")]
    rows = LocalRows(np.array_split(X, 3))
    projection = fit_projection(rows, scaling, components)
    expected = make_pipeline(*steps).fit_transform(X) if steps else X
    np.testing.assert_allclose(projection.transform(X), expected, atol=1e-8)
    # In place, step by step, and all at once: the same bits.
    assert np.array_equal(np.concatenate([block.x for block in rows.blocks]), projection.transform(X))


def test_no_projection_returns_the_rows_themselves():
    assert fit_projection(LocalRows([X]), "none", None).transform(X) is X
