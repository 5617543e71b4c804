"""Build the timm model that a spec names, and put its weights in: from the hub, from a file, or at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import huggingface_hub
import torch
from torch import nn

from datus2_ray.core.backbone.names import PATCH_FILTERS, StateDict
from datus2_ray.core.backbone.published import Published, read_published
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, FileConfig, Spec, read_file_config
from datus2_ray.core.backbone.timm_models import LayerNorm, timm
from datus2_ray.core.backbone.weights import NAME_IT, fit_weights, read_weights
from datus2_ray.errors import BackboneError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

UNTRAINED_SEED = 0


@dataclass(frozen=True)
class Architecture:
    """A timm name, and the keyword arguments in which the wanted model differs from it."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)  # hashed by identity: its mappings have no hash
class Family:
    """The models that one use accepts.

    Parameters
    ----------
    noun, option : str
        For errors: what the models are called, and the option of the command line that names one.
    modules : tuple of str
        timm's modules that define them.
    infer : callable
        Infers the architecture from a state dict, the file's name, and what is known beside the tensors.
    arguments : mapping
        Keyword arguments for every model of this use.
    """

    noun: str
    option: str
    modules: tuple[str, ...]
    infer: Callable[[StateDict, str, Mapping[str, Any]], Architecture]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode without gradients, and the preprocessing that it was trained with."""

    model: nn.Module
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int | None
    trained: bool


def load_timm(spec: Spec, family: Family) -> Loaded:
    """Build what a spec names and load its weights, without touching the global random state.

    Mean and deviation are those of the JSON beside a file, if any, or of its ``config.json``; timm's for a named model
    and a file with a tagged timm name; else ImageNet's, with which DINO, DINOv2 and MoCo were trained.

    Raises
    ------
    BackboneError
        If the model is not of the family, cannot be built or downloaded, or does not fit its file.
    """
    config = FileConfig() if spec.file is None else read_file_config(spec.file)
    published = Published() if spec.file is None else read_published(spec.file)
    pretrained = spec.file is None and not spec.untrained
    if spec.file is None:
        model = _build(_named(str(spec.architecture)), family, spec.label, pretrained=pretrained)
    else:
        state = read_weights(spec.file)
        named = _of_file(spec, config, published)
        model = _build(
            named or family.infer(state, spec.label, _known(published)), family, spec.label, pretrained=False
        )
        remedy = NAME_IT if named is None else f"they are not of {named.name}: name another architecture"
        fit_weights(model, state, spec.label, remedy)
    known = spec.architecture != DEFAULT_BACKBONE and (spec.file is None or "." in (spec.architecture or ""))
    defaults = model.pretrained_cfg if known else {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return Loaded(
        model=model.eval().requires_grad_(requires_grad=False),
        mean=config.mean or published.mean or tuple(defaults["mean"]),
        std=config.std or published.std or tuple(defaults["std"]),
        input_size=config.input_size,
        trained=not spec.untrained,
    )


def patch_size(spec: Spec, family: Family) -> int:
    """Return the side of a model's patches in pixels; raise as :func:`load_timm`.

    Nothing is fetched from a hub.
    """
    if spec.file is not None:
        filters = (tensor for key, tensor in read_weights(spec.file).items() if PATCH_FILTERS.fullmatch(key))
        if (found := next(filters, None)) is not None and found.ndim == 4:
            return int(found.shape[-1])
    return int(skeleton(spec, family).patch_embed.patch_size[0])


def skeleton(spec: Spec, family: Family) -> Any:
    """Return a model without memory for its weights, not to be changed; raise as :func:`load_timm`.

    Nothing is fetched from a hub.
    """
    if spec.file is None:
        return _skeleton_of_name(str(spec.architecture), family, spec.label)
    published = read_published(spec.file)
    named = _of_file(spec, read_file_config(spec.file), published)
    architecture = named or family.infer(read_weights(spec.file), spec.label, _known(published))
    with torch.device("meta"):
        return _build(architecture, family, spec.label, pretrained=False)


@lru_cache(maxsize=8)
def _skeleton_of_name(name: str, family: Family, label: str) -> Any:
    # Asked for several times by one command; timm takes 0.2 s to initialise weights that have no memory.
    with torch.device("meta"):
        return _build(_named(name), family, label, pretrained=False)


def _known(published: Published) -> dict[str, Any]:
    norm = {} if published.epsilon is None else {"norm_layer": partial(LayerNorm, eps=published.epsilon)}
    return {**published.arguments, **norm}


def _named(name: str) -> Architecture:
    if name == DEFAULT_BACKBONE:
        return Architecture("vit_tiny_patch16_224", {"patch_size": 8})
    return Architecture(name)


def _of_file(spec: Spec, config: FileConfig, published: Published) -> Architecture | None:
    if spec.architecture is not None:
        return _named(spec.architecture)
    if config.architecture is None and published.name is not None:
        return Architecture(published.name, published.arguments)
    if isinstance(config.architecture, dict):
        arguments = dict(config.architecture)
        return Architecture(str(arguments.pop("name", "vit_base_patch16_224")), arguments)
    return None if config.architecture is None else _named(config.architecture)


def _build(architecture: Architecture, family: Family, label: str, *, pretrained: bool) -> Any:
    base = architecture.name.partition(".")[0]
    if not any(base in timm.list_models(module=module) for module in family.modules):
        raise BackboneError(f"{architecture.name}, asked for as {label}, is not a {family.noun} of timm")
    if pretrained:
        _reach_hub(architecture.name, family)
    # With its classifier a published model is loaded strictly; timm is lenient as soon as that is left out.
    arguments = {**architecture.arguments, **family.arguments, **({} if pretrained else {"num_classes": 0})}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(UNTRAINED_SEED)
            return timm.create_model(architecture.name, pretrained=pretrained, **arguments)
    except Exception as error:
        if pretrained:
            raise _unreachable(architecture.name, family, error) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackboneError(f"{label}: timm cannot build {architecture.name} with {arguments}: {reason}") from error


def _reach_hub(name: str, family: Family) -> None:
    """Ask the hub once: timm by itself repeats its requests for most of a minute before it gives up."""
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise BackboneError(f"timm has no weights for {name}; give {family.option} FILE::{name} or untrained:{name}")
    hub_id, file = published.hf_hub_id, published.hf_hub_filename
    files = [file] if file else ["model.safetensors", "pytorch_model.bin"]
    if hub_id is None or any(isinstance(huggingface_hub.try_to_load_from_cache(hub_id, file), str) for file in files):
        return
    try:
        huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(hub_id, "config.json"))
    except Exception as error:  # the hub's client raises the errors of several libraries
        raise _unreachable(name, family, error) from error


def _unreachable(name: str, family: Family, error: Exception) -> BackboneError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BackboneError(
        f"the weights of {name} could not be fetched from the model hub ({reason}); "
        f"download the file elsewhere and give {family.option} FILE"
    )
