"""What DeepLabV3 starts from: its encoder, and a name of its weights."""

from __future__ import annotations

from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.config.refine import RefineConfig
from datus2_ray.core.refine import encoder_start
from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter
from datus2_ray.core.refine.file import to_bytes
from datus2_ray.engine.machines import Device
from datus2_ray.store import storage
from datus2_ray.store.weights_cache import local_spec


def start_identity(config: RunConfig, device: Device) -> dict[str, str]:
    """Return what identifies the start on a device; weights count by content, so it reads a whole file.

    Raises
    ------
    BackboneError
        If the weights do not exist or cannot be fetched.
    """
    weights = encoder_start.fingerprint(local_spec(config.refine.encoder_start))
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
        Facts for reports: ``encoder``, ``encoder_start``, ``supervised`` and ``output_stride``.

    Raises
    ------
    BackboneError
        If the weights do not exist, cannot be fetched or do not fit.
    """
    chosen = config.refine
    start, encoder = local_spec(chosen.encoder_start), choose_encoder(chosen, device)
    segmenter = build_segmenter(SegmenterSpec(encoder, chosen.output_stride, clusters, chosen.size), config.seed)
    supervised = encoder_start.start_encoder(segmenter, start)
    storage.write_bytes(uri, to_bytes(segmenter))
    return {
        "encoder": encoder,
        "encoder_start": encoder_start.label(start),
        "supervised": supervised,
        "output_stride": chosen.output_stride,
    }


def choose_encoder(config: RefineConfig, device: Device) -> str:
    """Return the encoder that is set, else as large a ResNet as the device trains in reasonable time."""
    return config.encoder or ("resnet50" if device == "cuda" else "resnet18")
