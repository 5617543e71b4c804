"""Label maps that hypothesis draws."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def maps(draw):
    """Ground truth with void, and a prediction with noise that agrees with it more often than not."""
    classes, clusters = draw(st.integers(1, 5)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 12)))
    present = rng.choice(classes, rng.integers(1, classes + 1), replace=False)
    truth = rng.choice(present, shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < 0.6, truth % clusters, rng.integers(0, clusters, shape)).astype(np.uint8)
    predicted[rng.random(shape) < 0.15] = 255
    truth[rng.random(shape) < 0.15] = rng.choice([classes, 200, 255])
    return truth, predicted, classes, clusters


def scored_pixels(truth, predicted, classes):
    inside = truth < classes
    return truth[inside].astype(int), predicted[inside].astype(int)
