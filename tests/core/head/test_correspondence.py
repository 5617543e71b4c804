"""The loss of correspondences against a plain reading of its formula, and which way its gradient points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.head.correspondence import centre, correspondence_loss, similarities

pytestmark = pytest.mark.usefixtures("one_thread")


@given(st.integers(0, 1000), st.floats(-0.5, 0.5))
def test_the_loss_is_that_of_the_paper(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    f, g, s, t = (rng.normal(size=(2, 5, width)) for width in (7, 7, 3, 3))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    total = 0.0
    for image in range(2):
        for i in range(5):
            of_point = [cosine(f[image, i], g[image, j]) for j in range(5)]
            for j in range(5):
                centred = of_point[j] - sum(of_point) / 5
                total -= (centred - shift) * max(cosine(s[image, i], t[image, j]), 0)
    first, second, codes, others = (torch.from_numpy(values) for values in (f, g, s, t))
    found = correspondence_loss(centre(similarities(first, second)), similarities(codes, others), shift)
    assert float(found) == pytest.approx(total / (2 * 5 * 5), abs=1e-9)


def test_codes_of_alike_tokens_are_drawn_together_and_others_apart() -> None:
    tokens = torch.tensor([[[0.5, -0.5]]])  # the first pair of points is alike, the second is not
    codes = torch.tensor([[[0.3, 0.3]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(correspondence_loss(tokens, codes, 0.1), codes)
    assert gradient[0, 0, 0] < 0 < gradient[0, 0, 1]
    orthogonal = torch.tensor([[[-0.3, -0.3]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(correspondence_loss(tokens, orthogonal, 0.1), orthogonal)
    assert not gradient.any()
