"""A segmenter's file: safetensors, with what the segmenter is made of in the header."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import safetensors
import safetensors.torch

from datus2_ray.core.backbone.vit import Backbone
from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter, SegmenterSpec, build_segmenter
from datus2_ray.core.refine.token_layer import TokenSegmenter, TokenSegmenterSpec
from datus2_ray.errors import BackboneError

#: What the refinement may train.
Segmenter = DeepLabV3Segmenter | TokenSegmenter

#: Keys in the header, one per kind.
DEEPLABV3, LINEAR = "segmenter", "token_segmenter"


def to_bytes(segmenter: Segmenter) -> bytes:
    """Write a segmenter as a safetensors file; of a token segmenter, its layer without the backbone."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in segmenter.state_dict().items()}
    kind = DEEPLABV3 if isinstance(segmenter, DeepLabV3Segmenter) else LINEAR
    return safetensors.torch.save(state, {kind: json.dumps(asdict(segmenter.spec))})


def from_bytes(data: bytes, load: Callable[[], Backbone]) -> Segmenter:
    """Build the segmenter that :func:`to_bytes` wrote.

    Parameters
    ----------
    load : callable
        Loads the backbone, if the segmenter reads tokens; may raise.

    Raises
    ------
    BackboneError
        If the bytes are damaged or hold something else, or the segmenter was trained with another backbone.
    """
    try:
        state = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        spec: TokenSegmenterSpec | SegmenterSpec
        if LINEAR in header:
            spec = TokenSegmenterSpec(**json.loads(header[LINEAR]))
        else:
            spec = SegmenterSpec(**json.loads(header[DEEPLABV3]))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    # Outside of the try: running out of memory would pass for a damaged file.
    segmenter: Segmenter = (
        TokenSegmenter(spec, load()) if isinstance(spec, TokenSegmenterSpec) else build_segmenter(spec, seed=0)
    )
    try:
        segmenter.load_state_dict(state)
    except RuntimeError as error:
        raise _damaged() from error
    return segmenter


def _damaged() -> BackboneError:
    return BackboneError("the segmenter's file is damaged or holds something else; refine again")
