"""The linear probe: the class of every patch, and which patches have one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.images.labels import upsample_nearest
from datus2_ray.core.score.probe import labelled_group, patch_classes


@given(st.integers(1, 5), st.integers(1, 5), st.integers(5, 30), st.integers(5, 30), st.integers(0, 99))
def test_a_patch_has_the_most_frequent_class_of_its_pixels(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height, width), p=[0.1, 0.2, 0.1, 0.6])
    found = patch_classes(truth, rows, columns, 3)
    covered = upsample_nearest(np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns), height, width)
    for patch, label in enumerate(found):
        counts = Counter(value for value in truth[covered == patch].tolist() if value < 3)
        assert label == (min(counts, key=lambda value: (-counts[value], value)) if counts else -1)


def test_patches_without_a_class_are_left_out() -> None:
    tokens = np.arange(8, dtype=np.float16).reshape(4, 2)
    group = labelled_group(tokens, np.array([2, -1, 0, -1]), torch.device("cpu"))
    assert group.tokens.tolist() == [[0, 1], [4, 5]]
    assert (group.labels.tolist(), group.sizes.tolist()) == ([2, 0], [1, 1])


def test_ids_of_16_bits_are_counted_without_overflow() -> None:
    truth = np.full((40, 40), 300, np.uint16)
    assert patch_classes(truth, 4, 4, 301).tolist() == [300] * 16
    assert patch_classes(truth, 4, 4, 300).tolist() == [-1] * 16
