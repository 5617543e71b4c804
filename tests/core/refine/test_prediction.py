"""The labels of logits: the argmax of all of them upsampled, also where few of them are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from datus2_ray.core.refine import prediction
from datus2_ray.core.refine.prediction import possible_classes, predict_labels

pytestmark = pytest.mark.usefixtures("one_thread")


@given(
    st.integers(1, 40), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 30), st.integers(1, 30),
    st.integers(0, 1000),
)  # fmt: skip
def test_labels_are_the_argmax_of_the_upsampled_logits(classes, sides, height, width, at_once):
    generator = torch.Generator().manual_seed(at_once)
    # Some classes are far behind everywhere, some in places.
    logits = torch.randn((classes, *sides), generator=generator) - 4 * torch.rand((classes, 1, 1), generator=generator)
    upsampled = functional.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "MAX_LOGITS", at_once)
        labels = predict_labels(logits, height, width)
    assert labels.shape == (height, width)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, upsampled.argmax(0).numpy())


@given(
    st.integers(1, 300), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 40), st.integers(1, 40),
    st.integers(0, 10**5),
)  # fmt: skip
def test_a_large_image_is_labelled_in_strips_as_it_would_be_whole(classes, sides, height, width, at_once):
    generator = torch.Generator().manual_seed(at_once)
    logits = torch.randn((classes, *sides), generator=generator)
    upsampled = functional.interpolate(logits[None], (height, width), mode="bilinear", align_corners=False)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction, "MAX_PIXELS", 0)
        patch.setattr(prediction, "MAX_LOGITS", at_once)
        labels = predict_labels(logits, height, width)
    assert labels.dtype == (np.uint8 if classes < 255 else np.uint16)
    chosen = upsampled.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
    torch.testing.assert_close(chosen, upsampled.max(0).values, rtol=0, atol=1e-5)


def test_upsampling_comes_before_the_argmax():
    # Halfway between two certain neighbours a third class, second everywhere, wins; no enlarged argmax can show it.
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]], [[3.0, 3.0]]])
    labels = predict_labels(logits, 1, 8)
    assert logits.argmax(0).tolist() == [[0, 1]]
    assert labels.tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]


def test_classes_that_cannot_win_are_not_upsampled():
    # Of four classes in two regions, one in the second place everywhere, and one far behind.
    left, right, second, last = torch.zeros(4, 3, 6)
    left[:, :3], right[:, 3:], second[:], last[:] = 4.0, 4.0, 3.0, -1.0
    logits = torch.stack([last, left, second, right])
    assert possible_classes(logits).tolist() == [1, 2, 3]
    assert possible_classes(torch.stack([left, second - 3])).tolist() == [0, 1]  # right of the border nobody is ahead
    assert possible_classes(torch.full((3, 2, 2), torch.nan)).tolist() == [0, 1, 2]


def test_more_than_254_classes_take_16_bits():
    logits = torch.zeros((300, 2, 2))
    logits[299] = 1
    assert predict_labels(logits, 3, 3).dtype == np.uint16
    assert (predict_labels(logits, 3, 3) == 299).all()
    assert predict_labels(logits[:254], 3, 3).dtype == np.uint8
