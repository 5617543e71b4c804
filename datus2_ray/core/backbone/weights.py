"""Weights files of self-supervised models: read them without running their code, and load them whole or not at all."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from torch import Tensor, nn

from datus2_ray.core.backbone.names import PATCH_FILTERS, StateDict, timm_names
from datus2_ray.core.backbone.split import pieces_of
from datus2_ray.core.backbone.timm_models import eva, vision_transformer
from datus2_ray.errors import BackboneError

#: What DDP, FSDP, activation checkpointing, DeepSpeed and torch.compile put into names, wherever that is.
WRAPPED = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)

#: A tensor that every vision transformer or ResNet has, after any prefix: by it a checkpoint's backbones are found.
BACKBONE = re.compile(
    rf"{PATCH_FILTERS.pattern}|(?P<resnet>(?:.*\.)?)layer1\.0\.conv1\.weight"
    r"|(?P<clip>(?:.*\.)?visual\.)transformer\.resblocks\.0\.attn\.in_proj_weight"
)

#: Words of a prefix. Averages of the students are what DINO, iBOT and I-JEPA publish and evaluate; the second network
#: of the others serves their training only.
PREFERRED, LAST = {"teacher", "ema", "target"}, {"student", "momentum", "k"}

#: Outer names of the state dicts of models that have no such tensor.
WRAPPERS = ("teacher", "student", "state_dict_ema", "model_ema", "state_dict", "model", "backbone")

#: Mappings in mappings of a checkpoint; deeper ones are no state dicts.
DEPTH = 6

# Classifiers, projection heads and decoders belong to a training task, not to the backbone.
HEADS = ("head.", "head_dist.", "fc.", "pre_logits.", "dino_head.", "ibot_head.", "decoder_", "masked_embed")

#: What to do where tensors do not fit the architecture that was inferred from them.
NAME_IT = "name its architecture as FILE::TIMM_NAME or in a JSON beside it"

# Full DINO checkpoints hold the command line and, in the optimiser, learning rates that are NumPy scalars. These types
# only store what they are given, so reading them runs no code of the file.
HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    (numpy_scalar, "numpy._core.multiarray.scalar"),
]


def read_weights(file: Path) -> StateDict:
    """Read a file of safetensors or ``torch.save`` into a flat state dict of the backbone alone, on the CPU.

    Checkpoints may be plain or nested (``state_dict``, ``model``, ``teacher``, ``student``), with any prefixes, such as
    Lightning's, DDP's or FSDP's. Of several backbones the average is taken (``teacher``, ``ema``, ``target``). Heads
    are dropped, and the chunked block names of DINOv2's training (``blocks.0.3.``) become plain ones (``blocks.3.``).
    Other names, and all types, stay.

    Raises
    ------
    BackboneError
        If the file cannot be read, holds Python objects other than plain data, holds no tensors, or several backbones
        of which none is an average.
    """
    tensors = {WRAPPED.sub("", key): value for key, value in _read_all(file).items()}
    state = {
        re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key): value
        for key, value in _backbone(tensors, file.name).items()
        if not key.startswith(HEADS)
    }
    if not state:
        raise BackboneError(f"{file.name} holds no weights; give a file with a state dict")
    return state


def _read_all(file: Path) -> StateDict:
    return {key: tensor for piece in pieces_of(file) for key, tensor in _flatten(_read(piece)).items()}


def _flatten(checkpoint: Any, prefix: str = "", depth: int = DEPTH) -> StateDict:
    """Return the tensors of mappings in mappings, with a dot between the names."""
    if not isinstance(checkpoint, Mapping) or not depth:
        return {}
    state: StateDict = {}
    for key, value in checkpoint.items():
        if isinstance(value, Tensor):
            state[f"{prefix}{key}"] = value
        else:
            state |= _flatten(value, f"{prefix}{key}.", depth - 1)
    return state


def _backbone(tensors: StateDict, label: str) -> StateDict:
    """Return the tensors of the backbone, without their prefix."""
    found = [match for key in tensors if (match := BACKBONE.fullmatch(key))]
    prefixes = {next(prefix for prefix in match.groups() if prefix is not None) for match in found}
    if not prefixes:
        while wrapper := next((name for name in WRAPPERS if any(key.startswith(f"{name}.") for key in tensors)), None):
            start = f"{wrapper}."
            tensors = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
        return tensors
    ranked: dict[int, list[str]] = {}
    for prefix in prefixes:
        words = set(re.split(r"[._]", prefix))
        ranked.setdefault(-bool(words & PREFERRED) or int(bool(words & LAST)), []).append(prefix)
    best = sorted(ranked[min(ranked)])
    if len(best) > 1:
        named = ", ".join(prefix.rstrip(".") or "one without prefix" for prefix in best)
        raise BackboneError(f"{label} holds several backbones ({named}); save the state dict of one of them alone")
    others = tuple(prefix for prefix in prefixes - {best[0]} if prefix.startswith(best[0]))
    return {
        key.removeprefix(best[0]): value
        for key, value in tensors.items()
        if key.startswith(best[0]) and not key.startswith(others)
    }


def fit_weights(model: nn.Module, state: StateDict, label: str, remedy: str = NAME_IT) -> None:
    """Load a state dict into a timm model, all of it or nothing.

    Names of transformers become timm's first. timm's own converters translate the names and tensors of DINOv2, DINOv3,
    EVA and their kin, and interpolate the position embeddings to the model's grid.

    Parameters
    ----------
    model : nn.Module
        A timm ``VisionTransformer``, ``Eva`` or ``ResNet`` without a classifier, changed in place.
    state : dict of str to Tensor
        From :func:`read_weights`.
    label, remedy : str
        For the error: the file's name, and what to do.

    Raises
    ------
    BackboneError
        If a key is missing, unexpected, or of another shape; the model is then as it was.
    """
    expected, state = model.state_dict(), timm_names(state)
    try:
        converted = _convert(model, state)
    except (RuntimeError, KeyError, ValueError):  # a converter met a shape it cannot handle: compare the raw tensors
        converted = dict(state)
    for key in expected:
        if key.endswith("num_batches_tracked"):  # a count that old files lack and that inference does not read
            converted.setdefault(key, torch.zeros((), dtype=torch.long))
    missing = [key for key in expected if key not in converted]
    unexpected = [key for key in converted if key not in expected]
    reshaped = [
        f"{key}: file {_shape(converted[key])}, model {_shape(expected[key])}"
        for key in expected
        if key in converted and converted[key].shape != expected[key].shape
    ]
    if missing or unexpected or reshaped:
        raise BackboneError(
            f"{label} does not fit its architecture, nothing was loaded: {_first(missing)} missing, "
            f"{_first(unexpected)} unexpected, {_first(reshaped)} of another shape; {remedy}"
        )
    model.load_state_dict(converted, strict=True)


def _read(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file, device="cpu")
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise BackboneError(f"{file.name} is not a weights file, or is damaged; download it again") from error
        raise BackboneError(
            f"{file.name} was refused: it holds the Python object {refused[1]}, and to load that could run code; "
            f"where you trust it, save its state dict alone, best as safetensors"
        ) from error
    except Exception as error:  # bytes that are no pickle can raise anything in PyTorch's unpickler
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackboneError(f"{file.name} cannot be read as weights ({reason}); download it again") from error


def _convert(model: nn.Module, state: StateDict) -> StateDict:
    state = dict(state)
    if isinstance(model, eva.Eva):
        lost = _lost_biases(model, state)
        kept = {key: value for key, value in state.items() if not (key.endswith("qkv.bias") and _is_unbiased(model))}
        converted = eva.checkpoint_filter_fn(kept, model) | lost
    elif isinstance(model, vision_transformer.VisionTransformer):
        if "register_tokens" in state:
            state.setdefault("mask_token", torch.empty(0))  # by which timm knows DINOv2; it drops it
        converted = vision_transformer.checkpoint_filter_fn(state, model, adapt_layer_scale=True)
    else:
        return state
    patches = "patch_embed.proj.weight"
    if patches in state and state[patches].ndim == 4:
        # timm would resize the filters of another patch size: that is another model.
        converted[patches] = state[patches]
    return dict(converted)


def _is_unbiased(model: Any) -> bool:
    attention = model.blocks[0].attn
    return getattr(attention, "q_bias", None) is None and attention.qkv is not None and attention.qkv.bias is None


def _lost_biases(model: nn.Module, state: StateDict) -> StateDict:
    """Return the non-zero biases that timm would leave out of a DINOv3 model built without biases."""
    biases = {key: value for key, value in state.items() if key.endswith("qkv.bias") and _is_unbiased(model)}
    # The key's third is masked in DINOv3's own code, whatever it holds.
    return {key: bias for key, bias in biases.items() if any(bias.chunk(3)[part].any() for part in (0, 2))}


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape) or "scalar"


def _first(keys: Iterable[str], count: int = 4) -> str:
    listed = list(keys)
    shown = ", ".join(listed[:count]) + (", ..." if len(listed) > count else "")
    return f"{len(listed)} ({shown})" if listed else "0"
