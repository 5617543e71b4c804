"""A linear layer on the tokens of patches: the segmenter that EM fits, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.errors import BackboneError

#: Key in the header of the file.
HEADER = "token_layer"


@dataclass(frozen=True)
class TokenLayerSpec:
    """What a layer is made of, apart from its weights.

    Parameters
    ----------
    dim : int
        Length of a token.
    classes : int
        Number of clusters K.
    reads : dict
        What its tokens are of, for readers of the file: fingerprint of the backbone, blocks, views.
    """

    dim: int
    classes: int
    reads: dict[str, Any]


class TokenLayer(nn.Module):
    """Classify tokens by a linear layer, which starts at zero, after each coordinate is standardised."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: TokenLayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.dim))
        self.register_buffer("deviation", torch.ones(spec.dim))
        self.weight = nn.Parameter(torch.zeros(spec.classes, spec.dim))
        self.bias = nn.Parameter(torch.zeros(spec.classes))

    def standardise(self, tokens: Tensor) -> Tensor:
        """Bring every coordinate of tokens, of any float type, to mean 0 and deviation 1; float32."""
        return (tokens.float() - self.mean) / self.deviation

    def forward(self, tokens: Tensor) -> Tensor:
        """Compute logits [n, K] of tokens [n, dim], of any float type."""
        return functional.linear(self.standardise(tokens), self.weight, self.bias)

    @torch.inference_mode()
    def of_patches(self, tokens: np.ndarray, height: int, width: int) -> Tensor:
        """Compute the logits of an image's patches: [K, height, width].

        Parameters
        ----------
        tokens : ndarray
            float16, shape (height · width, dim), patches in raster order.
        """
        logits: Tensor = self(torch.from_numpy(np.array(tokens)))
        return logits.T.reshape(-1, height, width)


def to_bytes(layer: TokenLayer) -> bytes:
    """Write a layer as a safetensors file."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in layer.state_dict().items()}
    return safetensors.torch.save(state, {HEADER: json.dumps(asdict(layer.spec))})


def from_bytes(data: bytes) -> TokenLayer:
    """Read the layer that :func:`to_bytes` wrote; raise a BackboneError if the bytes hold something else."""
    try:
        state = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        spec = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
        layer = TokenLayer(TokenLayerSpec(**spec))
        layer.load_state_dict(state)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BackboneError(
            "the file of the layer on tokens is damaged or holds something else; refine again"
        ) from error
    return layer
