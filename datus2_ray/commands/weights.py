"""Check that the weights that settings name are there and load, before Ray starts.

Actors that fail while they start print pages of Ray's traces; a check on the driver is one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.core.backbone.spec import (
    DEFAULT_BACKBONE,
    describe_weights,
    fingerprint,
    parse_spec,
    patch_side,
)
from datus2_ray.engine.session import joined_address
from datus2_ray.errors import BackboneError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.weights_cache import is_on_hub, local_spec


def check_weights(config: RunConfig) -> None:
    """Check weights, and the compiler where the backbone is compiled on this machine; fetches nothing.

    Raises
    ------
    BackboneError
        If timm does not know a name; if a file is missing or holds no backbone or ResNet; if windows are no multiple of
        the patch size; if a C++ compiler is needed and missing.
    """
    if config.discover.compile and joined_address() is None:
        from datus2_ray.core.backbone.compiler import require_compiler

        require_compiler()
    cnn = config.discover.cnn if config.discover.descriptor == "cnn" else None
    start = config.refine.encoder_start if config.refine.enabled else "random"
    encoder = None if start in ("random", "supervised") else start
    for spec in filter(None, (config.backbone, cnn, encoder)):
        uri = spec.partition("::")[0]
        if "://" in uri:
            if storage.find_file(uri) is None:
                raise BackboneError(
                    f"there is no weights file {uri}; give one that exists, or the name of a timm model"
                )
            continue
        if is_on_hub(spec):
            continue
        parsed = parse_spec(spec)
        if parsed.file is not None and spec != config.backbone:
            from datus2_ray.core.backbone.architecture import load_timm  # timm and torch take seconds
            from datus2_ray.core.backbone.cnn import RESNET
            from datus2_ray.core.refine.encoder_start import ENCODER

            load_timm(parsed, RESNET if spec == cnn else ENCODER)
    if "://" not in (config.backbone or "") and not is_on_hub(config.backbone or ""):
        check_backbone(config, config.backbone)


def check_backbone(config: RunConfig, spec: str | None) -> None:
    """Check that a backbone's file loads and has the vectors that are asked for, and that windows fit its patches.

    Parameters
    ----------
    config : RunConfig
        The settings.
    spec : str or None
        Name or local file; None for the packaged backbone.

    Raises
    ------
    BackboneError
        If the file does not load or lacks what is read of it, or a side is no multiple of the patch size.
    UsageError
        If windows are not smaller than what is seen.
    """
    if spec is not None:
        from datus2_ray.core.backbone.taps import Tap
        from datus2_ray.core.backbone.vit import check_taps, load_backbone

        if parse_spec(spec).file is not None:
            load_backbone(spec)
        read = [Tap("cls")] if config.discover.descriptor in ("cls", "tokens+cls") else []
        if config.discover.unit == "segments":
            read += [Tap(config.discover.feature, config.discover.block)]
        check_taps(spec, [*read, Tap("token", config.discover.block)])
    discover = config.discover
    if discover.input_size is None and discover.tile is None:
        return  # a grid is whole patches
    side = patch_side(spec or DEFAULT_BACKBONE)
    shown = discover.side(side)
    check_sizes(side, {"discover.input_size": shown})
    if discover.tile is None:
        return
    from datus2_ray.core.backbone.patches import check_tile

    check_tile(side, discover.tile)
    if discover.tile is not None and discover.tile >= shown and not discover.keep_aspect:
        larger = f"grid={2 * discover.tile // side}" if discover.grid else f"input_size={2 * discover.tile}"
        raise UsageError(
            f"discover.tile = {discover.tile} must be less than the {shown} pixels that the backbone sees: set "
            f"discover.{larger} or a smaller discover.tile"
        )


def check_pretraining(config: RunConfig) -> None:
    """Check that the views of a pre-training fit the patches of the backbone that it goes on from; fetches nothing.

    Raises
    ------
    BackboneError
        If a side is no multiple of the patch size, or there is no such backbone.
    """
    if config.backbone is not None and "://" not in config.backbone:
        sizes = {
            f"pretrain.{name}": getattr(config.pretrain, name) for name in ("image_size", "global_size", "local_size")
        }
        side = patch_side(config.backbone)
        check_sizes(side, sizes, f", and pretrain.patch_size={side}")


def check_sizes(patch: int, sizes: Mapping[str, int], beside: str = "") -> None:
    """Raise a BackboneError with the nearest sizes that fit if one, by its setting, is no multiple of the patch.

    `beside` is said after them: other settings that the remedy takes.
    """
    wrong = {name: size for name, size in sizes.items() if size % patch}
    if wrong:
        remedy = ", ".join(
            f"{name}={' or '.join(map(str, nearest_multiples(size, patch)))}" for name, size in wrong.items()
        )
        given = ", ".join(f"{name} = {size}" for name, size in wrong.items())
        raise BackboneError(
            f"{given}: the backbone has patches of {patch} pixels, which do not divide this; set {remedy}{beside}"
        )


def nearest_multiples(size: int, patch: int) -> list[int]:
    """Return the multiples of the patch size next to a size, in pixels: the one below, if any, and the one above."""
    below = size // patch * patch
    return [multiple for multiple in (below, below + patch) if multiple]


def check_same_backbone(config: RunConfig, fitted_with: str) -> None:
    """Check that the backbone is still the one with the fingerprint that a layer or head on its tokens was fitted with.

    Raises
    ------
    BackboneError
        If it does not exist, or its weights are not the same.
    """
    backbone = config.backbone or DEFAULT_BACKBONE
    # Of weights that timm names, a newer timm has the same.
    if fingerprint(local_spec(backbone)).partition(" timm=")[0] != fitted_with.partition(" timm=")[0]:
        raise BackboneError(f"the weights of {backbone} are not those that the run was made with; bring them back")


def local_weights(config: RunConfig) -> dict[str, Any]:
    """Fetch the weights to this machine, check those that were fetched, and return what the summary says of them."""
    spec = config.backbone or DEFAULT_BACKBONE
    fetched = local_spec(spec)
    if fetched != spec:
        check_backbone(config, fetched)
    cnn = config.discover.cnn if config.discover.descriptor == "cnn" else None
    return {
        "backbone": describe_weights(parse_spec(fetched)),
        "cnn": describe_weights(parse_spec(local_spec(cnn))) if cnn else None,
    }
