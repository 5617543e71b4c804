"""DeepLabV3 with random weights."""

from __future__ import annotations

from dataclasses import dataclass

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from datus2_ray.core.backbone.architecture import IMAGENET_MEAN, IMAGENET_STD
from datus2_ray.errors import BackboneError


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
