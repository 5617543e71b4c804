"""Read a segmenter from its file, with the run's backbone if it reads tokens."""

from __future__ import annotations

from typing import Literal

from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.refine.file import Segmenter, from_bytes
from datus2_ray.store import storage
from datus2_ray.store.weights_cache import local_spec


def read_segmenter(
    uri: str, backbone: str, device: str, dtype: Literal["float32", "bfloat16"] = "float32"
) -> Segmenter:
    """Read a segmenter and put it on a device; the backbone is loaded only for a token segmenter.

    Raises
    ------
    BackboneError
        If the file is damaged, or the backbone is missing or another than the segmenter was trained with.
    """
    return from_bytes(
        storage.read_bytes(uri), lambda: load_backbone(local_spec(backbone), device=device, dtype=dtype)
    ).to(device)
