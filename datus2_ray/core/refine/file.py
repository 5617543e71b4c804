"""The file of a DeepLabV3: safetensors, with what it is made of in the header."""

from __future__ import annotations

import json
from dataclasses import asdict

import safetensors
import safetensors.torch

from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter, SegmenterSpec, build_segmenter
from datus2_ray.errors import BackboneError

#: Key in the header.
HEADER = "segmenter"


def to_bytes(segmenter: DeepLabV3Segmenter) -> bytes:
    """Write a segmenter as a safetensors file."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in segmenter.state_dict().items()}
    return safetensors.torch.save(state, {HEADER: json.dumps(asdict(segmenter.spec))})


def from_bytes(data: bytes) -> DeepLabV3Segmenter:
    """Build the segmenter that :func:`to_bytes` wrote; raise a BackboneError if the bytes hold something else."""
    try:
        state = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        spec = SegmenterSpec(**json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER]))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged() from error
    # Outside of the try: running out of memory would pass for a damaged file.
    segmenter = build_segmenter(spec, seed=0)
    try:
        segmenter.load_state_dict(state)
    except RuntimeError as error:
        raise _damaged() from error
    return segmenter


def _damaged() -> BackboneError:
    return BackboneError("the segmenter's file is damaged or holds something else; refine again")
