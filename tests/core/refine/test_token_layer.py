"""The linear layer on tokens: what it computes, and its file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec, from_bytes, to_bytes
from datus2_ray.errors import BackboneError


def random_layer(dim: int = 8, classes: int = 5) -> TokenLayer:
    layer = TokenLayer(TokenLayerSpec(dim, classes, {"backbone": "b", "blocks": 1}))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in layer.state_dict().values():
            value.copy_(torch.randn(value.shape, generator=generator))
        layer.deviation.abs_()
    return layer


def test_it_starts_without_any_preference() -> None:
    assert not TokenLayer(TokenLayerSpec(8, 5, {}))(torch.randn(3, 8)).any()


def test_logits_are_a_linear_function_of_standardised_tokens() -> None:
    layer = random_layer()
    tokens = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float16)
    state = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    expected = (tokens - state["mean"]) / state["deviation"] @ state["weight"].T + state["bias"]
    logits = layer.of_patches(tokens, 2, 3)
    assert logits.shape == (5, 2, 3)
    np.testing.assert_allclose(logits.flatten(1).T, expected, rtol=1e-4, atol=1e-4)


def test_a_kept_layer_is_the_same_layer() -> None:
    layer = random_layer()
    again = from_bytes(to_bytes(layer))
    assert again.spec == layer.spec
    tokens = torch.randn(4, 8)
    assert torch.equal(again(tokens), layer(tokens))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:200],
        lambda data: b"no weights",
        lambda data: data.replace(b'\\"classes\\": 5', b'\\"classes\\": 4'),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(spoil) -> None:
    with pytest.raises(BackboneError, match="refine again") as raised:
        from_bytes(spoil(to_bytes(random_layer())))
    assert "\n" not in str(raised.value)
