"""DeepLabV3 with random weights, and the labels that any segmenter's logits stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.core.images.labels import NOISE_8, Labels
from datus2_ray.errors import BackboneError

#: Upsampled logits of one image that are held at a time: 256 MB of float32.
MAX_LOGITS = 2**26


@dataclass(frozen=True)
class SegmenterSpec:
    """What a segmenter is made of, apart from its weights.

    Parameters
    ----------
    encoder : str
        Name of the encoder in segmentation-models-pytorch, for example ``resnet18``.
    output_stride : int
        Pixels per cell of the encoder's last feature map, 8 or 16.
    classes : int
        Number of clusters K.
    size : int
        Side of the square images that it is trained on, in pixels; a multiple of `output_stride`.
    """

    encoder: str
    output_stride: int
    classes: int
    size: int


class DeepLabV3Segmenter(nn.Module):
    """DeepLabV3 that takes 8-bit images: mean and standard deviation are part of its state.

    Raises
    ------
    BackboneError
        If segmentation-models-pytorch has no such encoder, or cannot dilate it.

    References
    ----------
    Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 1706.05587 (2017).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: SegmenterSpec) -> None:
        super().__init__()
        self.spec = spec
        try:
            # The library's own default downloads supervised ImageNet weights, which would leak labels.
            self.network: nn.Module = smp.DeepLabV3(
                encoder_name=spec.encoder,
                encoder_weights=None,
                encoder_output_stride=spec.output_stride,
                classes=spec.classes,
            )
        except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
            reason = str(error.args[0] if error.args else error).split(",")[0]
            raise BackboneError(
                f"no DeepLabV3 with the encoder {spec.encoder!r} ({reason}); refine.encoder takes resnet18, resnet34, "
                "resnet50, resnet101 and other convolutional encoders of segmentation-models-pytorch"
            ) from error
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [B, K, size, size] of images uint8 RGB [B, 3, size, size].

        In training B is at least 2, for the pooling branch's batch norm.
        """
        logits: Tensor = self.network((images / 255.0 - self.mean) / self.std)
        return logits


def build_segmenter(spec: SegmenterSpec, seed: int) -> DeepLabV3Segmenter:
    """Build a segmenter with random weights that depend on the seed alone; leave torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: that would reseed the GPUs as well.
        torch.default_generator.manual_seed(seed)
        return DeepLabV3Segmenter(spec)


def predict_labels(logits: Tensor, height: int, width: int) -> Labels:
    """Return the most likely class of every pixel of an image: logits are upsampled bilinearly first, argmax after.

    Parameters
    ----------
    logits : Tensor
        float, shape [K, h, w], of one image.
    height, width : int
        Size of the image itself, in pixels.

    Returns
    -------
    ndarray
        Shape [height, width]; uint8 up to 254 classes, uint16 above. The lowest class wins a tie.
    """
    classes = logits.shape[0]
    # A few classes at a time: all of them at the size of a large photograph would not fit.
    chunk = max(1, MAX_LOGITS // (height * width))
    best, label = torch.empty(0), torch.empty(0)
    for start in range(0, classes, chunk):
        part = logits[None, start : start + chunk].float()
        upsampled = functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0]
        value, index = upsampled.max(dim=0)
        if start == 0:
            best, label = value, index
        else:
            better = value > best
            best = torch.where(better, value, best)
            label = torch.where(better, index + start, label)
    dtype = np.uint8 if classes < NOISE_8 else np.uint16
    labels: NDArray[Any] = label.to(torch.int32).cpu().numpy().astype(dtype)
    return labels
