"""The head: a small network from tokens of patches to codes, and its file."""

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
HEADER = "head"


@dataclass(frozen=True)
class HeadSpec:
    """What a head is made of, apart from its weights.

    Parameters
    ----------
    dim : int
        Length of a token.
    codes : int
        Length of a code.
    reads : dict
        What its tokens are of, for readers of the file: fingerprint of the backbone, blocks, views.
    """

    dim: int
    codes: int
    reads: dict[str, Any]


class Head(nn.Module):
    """A linear map plus a network of two layers, on tokens whose coordinates are standardised.

    Weights start at random, from a generator.

    References
    ----------
    Hamilton et al., "Unsupervised Semantic Segmentation by Distilling Feature Correspondences", arXiv 2203.08414
    (2022), section 3.2.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: HeadSpec, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.dim))
        self.register_buffer("deviation", torch.ones(spec.dim))
        self.linear, self.hidden, self.out = (
            _layer(spec.dim, length, generator) for length in (spec.codes, spec.dim, spec.codes)
        )

    def standardise(self, tokens: Tensor) -> Tensor:
        """Bring every coordinate of tokens, of any float type, to mean 0 and deviation 1; float32."""
        return (tokens.float() - self.mean) / self.deviation

    def forward(self, standardised: Tensor) -> Tensor:
        """Compute codes [..., codes] of standardised tokens [..., dim]."""
        codes: Tensor = self.linear(standardised) + self.out(functional.relu(self.hidden(standardised)))
        return codes

    @torch.inference_mode()
    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Return the codes of tokens, each of length 1: float32, shape (n, codes).

        Parameters
        ----------
        tokens : ndarray
            Float, shape (n, dim).
        """
        codes: np.ndarray = functional.normalize(
            self(self.standardise(torch.from_numpy(np.array(tokens)))), dim=1
        ).numpy()
        return codes


def _layer(length: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(length, outputs)
    bound = length**-0.5
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer


def to_bytes(head: Head) -> bytes:
    """Write a head as a safetensors file."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    return safetensors.torch.save(state, {HEADER: json.dumps(asdict(head.spec))})


def from_bytes(data: bytes) -> Head:
    """Read the head that :func:`to_bytes` wrote; raise a BackboneError if the bytes hold something else."""
    try:
        state = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        spec = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER])
        head = Head(HeadSpec(**spec))
        head.load_state_dict(state)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BackboneError("the file of the head is damaged or holds something else; learn it again") from error
    return head
