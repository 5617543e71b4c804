"""The head: what it computes, its random start, and its file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from datus2_ray.core.head.network import Head, HeadSpec, from_bytes, to_bytes
from datus2_ray.errors import BackboneError

SPEC = HeadSpec(6, 3, {"backbone": "b"})


def made(seed: int) -> Head:
    head = Head(SPEC, torch.Generator().manual_seed(seed))
    head.mean.copy_(torch.arange(6.0))
    head.deviation.fill_(2.0)
    return head


def test_codes_are_a_linear_map_plus_a_network_of_two_layers_of_length_one() -> None:
    head = made(0)
    tokens = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float16)
    state = {name: tensor.double().numpy() for name, tensor in head.state_dict().items()}
    x = (tokens.astype(float) - state["mean"]) / state["deviation"]
    hidden = np.maximum(x @ state["hidden.weight"].T + state["hidden.bias"], 0)
    codes = x @ state["linear.weight"].T + state["linear.bias"] + hidden @ state["out.weight"].T + state["out.bias"]
    found = head.encode(tokens)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, codes / np.linalg.norm(codes, axis=1, keepdims=True), rtol=1e-4, atol=1e-5)


def test_the_seed_decides_the_start() -> None:
    assert all(map(torch.equal, made(0).state_dict().values(), made(0).state_dict().values()))
    assert not torch.equal(made(0).hidden.weight, made(1).hidden.weight)


def test_a_file_holds_the_whole_head() -> None:
    head = made(2)
    read = from_bytes(to_bytes(head))
    assert read.spec == SPEC
    assert read.state_dict().keys() == head.state_dict().keys()
    assert all(map(torch.equal, read.state_dict().values(), head.state_dict().values()))


def test_other_bytes_are_refused() -> None:
    data = to_bytes(made(0))
    for bad in (b"", data[:-8], data.replace(b'"head"', b'"tail"'), data.replace(b"hidden.bias", b"hidden.bios")):
        with pytest.raises(BackboneError, match="damaged or holds something else"):
            from_bytes(bad)
