"""What the refinement starts from: DeepLabV3 or a layer on the backbone's tokens, and a name of its weights."""

from __future__ import annotations

from typing import Any

from datus2_ray.config.load import RunConfig
from datus2_ray.config.stages import RefineConfig
from datus2_ray.core.backbone.vit import DEFAULT_BACKBONE, token_length
from datus2_ray.core.backbone.vit import fingerprint as backbone_fingerprint
from datus2_ray.core.refine import encoder_start
from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter
from datus2_ray.core.refine.file import to_bytes
from datus2_ray.core.refine.token_layer import TokenSegmenter, TokenSegmenterSpec
from datus2_ray.engine.machines import Device
from datus2_ray.errors import BackboneError
from datus2_ray.store import storage
from datus2_ray.store.weights_cache import local_spec


def start_fingerprint(config: RunConfig) -> str:
    """Return a name, by content, of the weights that a segmenter starts from or reads tokens of; reads a whole file.

    Raises
    ------
    BackboneError
        If the weights do not exist or cannot be fetched.
    """
    if config.refine.network == "linear":
        return backbone_fingerprint(local_spec(backbone_of(config)))
    return encoder_start.fingerprint(local_spec(config.refine.encoder_start))


def start_identity(config: RunConfig, device: Device, weights: str) -> dict[str, str | None]:
    """Return what identifies a segmenter's start on a device, given the :func:`start_fingerprint` of its weights.

    Settings that its network does not read are None, whatever they are.
    """
    if config.refine.network == "linear":
        return {"encoder": None, "encoder_start": None, "output_stride": None, "backbone": weights}
    return {"encoder": choose_encoder(config.refine, device), "encoder_start": weights}


def write_start(uri: str, config: RunConfig, clusters: int, device: Device) -> dict[str, Any]:
    """Write the segmenter that all workers start from, on the driver, where a fault in its weights shows at once.

    Parameters
    ----------
    clusters : int
        Number of clusters K.
    device : str
        Where it is trained.

    Returns
    -------
    dict
        Facts for reports: ``network``; of DeepLabV3 also ``encoder``, ``encoder_start``, ``supervised`` and
        ``output_stride``, of a linear layer ``backbone``, the fingerprint of the weights that compute its tokens.

    Raises
    ------
    BackboneError
        If the weights do not exist, cannot be fetched or do not fit.
    """
    chosen = config.refine
    if chosen.network == "linear":
        backbone = local_spec(backbone_of(config))
        # Not loaded: the machine that drives a cluster need not have room for it.
        layer = TokenSegmenter(TokenSegmenterSpec(token_length(backbone), clusters, chosen.size))
        storage.write_bytes(uri, to_bytes(layer))
        return {"network": chosen.network, "backbone": backbone_fingerprint(backbone)}
    start, encoder = local_spec(chosen.encoder_start), choose_encoder(chosen, device)
    segmenter = build_segmenter(SegmenterSpec(encoder, chosen.output_stride, clusters, chosen.size), config.seed)
    supervised = encoder_start.start_encoder(segmenter, start)
    storage.write_bytes(uri, to_bytes(segmenter))
    return {
        "network": chosen.network,
        "encoder": encoder,
        "encoder_start": encoder_start.label(start),
        "supervised": supervised,
        "output_stride": chosen.output_stride,
    }


def choose_encoder(config: RefineConfig, device: Device) -> str:
    """Return the encoder that is set, else as large a ResNet as the device trains in reasonable time."""
    return config.encoder or ("resnet50" if device == "cuda" else "resnet18")


def backbone_of(config: RunConfig) -> str:
    """Return the name, file or URI of a run's backbone."""
    return config.backbone or DEFAULT_BACKBONE


def check_same_backbone(config: RunConfig, trained_with: str) -> None:
    """Check that the backbone is still the one with the fingerprint that :func:`write_start` returned.

    Raises
    ------
    BackboneError
        If it does not exist, or its weights are not the same.
    """
    backbone = backbone_of(config)
    # Of weights that timm names, a newer timm has the same.
    if backbone_fingerprint(local_spec(backbone)).partition(" timm=")[0] != trained_with.partition(" timm=")[0]:
        raise BackboneError(f"the weights of {backbone} are not those that the run was refined with; bring them back")
