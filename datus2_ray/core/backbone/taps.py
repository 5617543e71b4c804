"""Taps: the places in a vision transformer that vectors are read from, and the hooks that read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.errors import BackboneError

PROJECTIONS = ("query", "key", "value")

T = TypeVar("T")


@dataclass(frozen=True)
class Tap:
    """A place in the transformer to read vectors from: a kind, of a block (negative from the end).

    ``key``, ``query`` and ``value`` are the block's projections, all heads side by side, as they leave the linear layer
    (before q/k-normalisation and rotation, in models that have these). ``token``, of the patches, and ``cls`` are
    normalised by the final norm.
    """

    kind: Literal["key", "query", "value", "token", "cls"]
    block: int = -1


def check_tap(model: Any, name: str, tap: Tap) -> None:
    """Check that a transformer of timm, of that name in messages, has what a tap asks for.

    Raises
    ------
    BackboneError
        If it has no such block, no CLS token, or no such projections of the length of a token.
    """
    depth, dim = len(model.blocks), model.embed_dim
    if not -depth <= tap.block < depth:
        raise BackboneError(f"{name} has {depth} blocks, so there is no block {tap.block}; set another discover.block")
    if tap.kind == "cls" and model.cls_token is None:
        raise BackboneError(f"{name} has no CLS token; describe segments without one: --set discover.descriptor=tokens")
    attention = getattr(model.blocks[tap.block], "attn", None)
    if tap.kind in PROJECTIONS and not _has_projections(attention, dim):
        raise BackboneError(f"{name} has no {tap.kind} vectors of length {dim}; use --set discover.feature=token")


class Enough(Exception):  # noqa: N818 - no error
    """Ends a forward pass once all that was asked for is computed, see :func:`then_stop`."""


def then_stop(keep: Callable[[T], None]) -> Callable[[T], None]:
    """Return a function that keeps vectors, as `keep` does, and ends the forward pass by raising :class:`Enough`."""

    def keep_and_stop(vectors: T) -> None:
        keep(vectors)
        raise Enough

    return keep_and_stop


def _has_projections(attention: Any, dim: int) -> bool:
    if getattr(attention, "qkv", None) is not None:
        return bool(attention.qkv.out_features == 3 * dim)
    unfused = [getattr(attention, f"{letter}_proj", None) for letter in "qkv"]
    return all(linear is not None and linear.out_features == dim for linear in unfused)


def hook_projections(attention: Any, keep: Callable[[tuple[Tensor, ...]], None]) -> list[Any]:
    """Have an attention layer hand over its query, key and value, each (B, tokens, dim), in its next forward passes.

    Returns
    -------
    list
        Handles, whose ``remove()`` ends it.
    """
    if attention.qkv is None:
        return [attention.register_forward_pre_hook(partial(_keep_unfused, keep))]
    if getattr(attention, "q_bias", None) is None:
        return [attention.qkv.register_forward_hook(lambda _module, _inputs, output: keep(output.chunk(3, dim=-1)))]
    return [attention.register_forward_pre_hook(partial(_keep_biased, keep))]


def _keep_unfused(keep: Callable[[tuple[Tensor, ...]], None], attention: Any, inputs: tuple[Tensor, ...]) -> None:
    keep((attention.q_proj(inputs[0]), attention.k_proj(inputs[0]), attention.v_proj(inputs[0])))


def _keep_biased(keep: Callable[[tuple[Tensor, ...]], None], attention: Any, inputs: tuple[Tensor, ...]) -> None:
    # EVA adds its biases (the keys' is fixed at zero) without calling its linear layer, so there is no output to hook.
    bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
    keep(functional.linear(inputs[0], attention.qkv.weight, bias).chunk(3, dim=-1))


def keep_output(keep: Callable[[Tensor], None], _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
    """Hand over a block's output; a forward hook once `keep` is given."""
    keep(output)
