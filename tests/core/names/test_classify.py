"""Pixels, patches and segments by a layer, and single segments by what a person said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.names.classify import EVIDENCE, classify_pixels, classify_segments
from datus2_ray.core.names.masks import label_table
from datus2_ray.core.names.names import NamedClass
from datus2_ray.core.refine.prediction import predict_labels

pytestmark = pytest.mark.usefixtures("one_thread")

COUNT = 3
TABLE = label_table([NamedClass(f"class {n}", "#000000", n == 1) for n in range(COUNT)])


@given(st.integers(0, 10_000))
def test_segments_take_the_class_of_their_patches_unless_one_was_given(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(size=(COUNT, 3, 4)).astype(np.float32))
    patch_map = rng.integers(-1, 3, (3, 4))
    patch_map.flat[:3] = [0, 1, 2]  # none is empty
    given_class = {int(number): int(rng.integers(COUNT)) for number in np.flatnonzero(rng.random(3) < 0.4)}
    named = rng.integers(-1, COUNT, 3)
    found = classify_segments(logits, TABLE, 9, 8, patch_map, named, given_class)
    for (y, x), segment in np.ndenumerate(patch_map):
        if segment >= 0 and named[segment] >= 0:
            logits[named[segment], y, x] += EVIDENCE
    plain = classify_pixels(logits, TABLE, 9, 8)
    np.testing.assert_array_equal(plain.mask, TABLE[predict_labels(logits, 9, 8)])
    p = np.exp(logits.numpy().astype(float))
    p /= p.sum(axis=0)
    np.testing.assert_allclose(plain.confidence, p.max(axis=0), rtol=1e-5)
    assert plain.segment_classes is None
    assert found.segment_classes is not None
    assert found.segment_confidence is not None
    for number in range(3):
        mean = p[:, patch_map == number].mean(axis=1)
        expected = (given_class[number], 1.0) if number in given_class else (mean.argmax(), mean.max())
        assert found.segment_classes[number] == expected[0]
        assert found.segment_confidence[number] == pytest.approx(expected[1], rel=1e-5)
    for y in range(9):
        for x in range(8):
            segment = patch_map[int((y + 0.5) / 3), int((x + 0.5) / 2)]
            expected = TABLE[given_class[segment]] if segment in given_class else plain.mask[y, x]
            assert found.mask[y, x] == expected
    inside = np.isin(patch_map, list(given_class))
    np.testing.assert_array_equal(found.confidence, np.where(inside, 1, plain.confidence))


def test_an_image_of_noise_has_no_segments() -> None:
    found = classify_segments(torch.zeros(COUNT, 2, 2), TABLE, 4, 4, np.full((2, 2), -1), np.empty(0, int), {})
    assert found.segment_classes is not None
    assert len(found.segment_classes) == 0
    assert found.mask.shape == (4, 4)
