"""Augmentation of images and their labels: scale, mirror image, light; every image by its own seed."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from datus2_ray.core.images.labels import NOISE_8, NOISE_16

#: Grey of the area outside the image: ImageNet's mean in 0..255.
GREY = (124, 116, 104)


def augment(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scale by 0.5 to 2, crop to the same size, mirror every second image, and change its light a little.

    Labels are resized to the nearest; what lies outside the image becomes noise. Brightness, contrast and saturation
    change by up to a fifth.

    Parameters
    ----------
    images : Tensor
        uint8, shape [B, 3, h, w], on any device.
    labels : Tensor
        Shape [B, h, w]: uint8 with noise 255, or int32 with noise 65535.
    generator : torch.Generator
        On the CPU; one seed per image is drawn from it, and torch's own generator is left as it was.

    References
    ----------
    Chen et al., arXiv 1706.05587 (2017), section 4.1, for scaling and mirroring.
    """
    noise = NOISE_8 if labels.dtype == torch.uint8 else NOISE_16
    height, width = images.shape[-2:]
    transform = v2.Compose(
        [
            v2.ScaleJitter((height, width), scale_range=(0.5, 2.0)),
            v2.RandomCrop((height, width), pad_if_needed=True, fill={tv_tensors.Image: GREY, tv_tensors.Mask: noise}),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
        ]
    )
    seeds = torch.randint(2**62, (len(images),), generator=generator).tolist()
    pairs = []
    with torch.random.fork_rng(devices=[]):
        for image, label, seed in zip(images, labels, seeds, strict=True):
            # The transforms draw from torch's own generator on the CPU, whatever the device.
            torch.default_generator.manual_seed(seed)
            pairs.append(transform(tv_tensors.Image(image), tv_tensors.Mask(label)))
    return (
        torch.stack([image.as_subclass(Tensor) for image, _ in pairs]),
        torch.stack([label.as_subclass(Tensor) for _, label in pairs]),
    )
