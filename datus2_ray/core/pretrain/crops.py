"""Views of images for self-supervised training: which crops, in which light, and their pixels, batched on the device.

Every choice is drawn for the whole batch at once, from one generator, and pixels are computed after that: so a worker
that holds a slice of the batch computes exactly the views that one worker would have computed of it. (The libraries'
batched transforms draw from a global generator.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torchvision  # noqa: F401 - registers the operator that cuts the crops
from torch import Tensor
from torch.nn import functional

from datus2_ray.core.pretrain.recipe import ViewSpec

#: RGB → YIQ, in which a turn of the last two axes changes the hue and nothing else.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)

#: Largest deviation of the blur, in pixels of a view of 224 pixels, as in DINO.
BLUR = 2.0

#: Sides of a crop, width over height, as in Inception and all that followed it.
ASPECT = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class Views:
    """What was drawn for a batch of views, on the CPU.

    Parameters
    ----------
    boxes : Tensor
        float32, shape [B, 4]: left, top, right, bottom as shares of the image's sides.
    mirrored : Tensor
        bool, shape [B].
    brightness, contrast : Tensor
        float32, shape [B]: factors.
    mixing : Tensor
        float32, shape [B, 3, 3]: saturation and hue, as the matrix that turns an RGB triple into another.
    sigma : Tensor
        float32, shape [B]: deviation of the Gaussian blur in pixels, 0 for none.
    """

    boxes: Tensor
    mirrored: Tensor
    brightness: Tensor
    contrast: Tensor
    mixing: Tensor
    sigma: Tensor

    def __getitem__(self, rows: slice) -> Views:
        """Return the views of some rows of the batch."""
        return Views(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw_boxes(area: tuple[float, float], batch: int, rng: np.random.Generator) -> Tensor:
    """Draw boxes that cover a share of an image between two bounds: float32 [batch, 4], as in :class:`Views`.

    The number of draws from ``rng`` does not depend on their values.
    """
    share = rng.uniform(*area, batch)
    aspect = np.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1]), batch))
    width, height = np.minimum(np.sqrt(share * aspect), 1), np.minimum(np.sqrt(share / aspect), 1)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return _float(np.stack([left, top, left + width, top + height], axis=1))


def draw_views(spec: ViewSpec, regions: Tensor, rng: np.random.Generator) -> Views:
    """Draw the views of a batch, one per image; the number of draws from ``rng`` does not depend on their values.

    Parameters
    ----------
    regions : Tensor
        The part of each image that views are cut from, from :func:`draw_boxes`. All views of an image come from one
        region: in a picture of a street or a reef, views from anywhere would show different things.
    """
    batch = len(regions)
    boxes = draw_boxes(spec.area, batch, rng)
    mirrored = rng.random(batch) < 0.5
    changed = rng.random(batch) < 0.8
    brightness, contrast = (1 + 0.4 * spec.colour * changed * rng.uniform(-1, 1, batch) for _ in range(2))
    saturation = 1 + 0.2 * spec.colour * changed * rng.uniform(-1, 1, batch)
    saturation[rng.random(batch) < 0.2 * spec.colour] = 0
    turn = 2 * math.pi * 0.1 * spec.colour * changed * rng.uniform(-1, 1, batch)
    sigma = np.where(rng.random(batch) < spec.blur, rng.uniform(0.1, BLUR, batch), 0) * spec.size / 224
    return Views(
        boxes=regions[:, [0, 1, 0, 1]] + boxes * (regions[:, 2:] - regions[:, :2]).repeat(1, 2),
        mirrored=torch.from_numpy(mirrored),
        brightness=_float(brightness),
        contrast=_float(contrast),
        mixing=_mixing(torch.from_numpy(saturation), torch.from_numpy(turn)),
        sigma=_float(sigma),
    )


def render_views(images: Tensor, views: Views, size: int) -> Tensor:
    """Compute the pixels of the views, one per image.

    Parameters
    ----------
    images : Tensor
        float32 in 0..1, shape [B, 3, h, w], on any device.
    size : int
        Side of the views in pixels.

    Returns
    -------
    Tensor
        float32 in 0..1, shape [B, 3, size, size], on the images' device. Crops are averaged over their pixels, not
        sampled (RoIAlign of He et al., arXiv 1703.06870, as a resize).
    """
    device = images.device
    height, width = images.shape[-2:]
    boxes = views.boxes * torch.tensor([width, height, width, height])
    rows = torch.arange(len(boxes), dtype=boxes.dtype)[:, None]
    # The operator itself: where deterministic algorithms are asked for (of backward passes, and there is none here),
    # torchvision's wrapper takes a path that is thousands of times slower on a GPU.
    regions = torch.cat([rows, boxes], dim=1).to(device)
    pixels: Tensor = torch.ops.torchvision.roi_align(images, regions, 1.0, size, size, -1, True)
    pixels = torch.where(_column(views.mirrored, device), pixels.flip(-1), pixels)
    pixels = (pixels * _column(views.brightness, device)).clamp_(0, 1)
    weights = _YIQ[0].float().to(device).view(1, 3, 1, 1)
    grey = (pixels * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    pixels = ((pixels - grey) * _column(views.contrast, device) + grey).clamp_(0, 1)
    pixels = torch.einsum("bij,bjhw->bihw", views.mixing.to(device), pixels).clamp_(0, 1)
    return _blur(pixels, views.sigma)


def _blur(pixels: Tensor, sigma: Tensor) -> Tensor:
    """Blur every image by its own Gaussian, rows then columns; an image with a deviation of 0 stays as it is."""
    chosen = torch.nonzero(sigma > 0)[:, 0]  # on the CPU, as sigma is: the device need not be waited for
    if not len(chosen):
        return pixels
    radius = math.ceil(3 * BLUR * pixels.shape[-1] / 224)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernels = torch.exp(-0.5 * (offsets / sigma[chosen, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(3, 0).to(pixels.device)
    chosen = chosen.to(pixels.device)
    count, _, height, width = pixels[chosen].shape
    planes = pixels[chosen].reshape(1, 3 * count, height, width)
    for kernel, padding in (
        (kernels[:, None, None], (radius, radius, 0, 0)),
        (kernels[:, None, :, None], (0, 0, radius, radius)),
    ):
        planes = functional.conv2d(functional.pad(planes, padding, mode="replicate"), kernel, groups=3 * count)
    blurred = pixels.clone()
    blurred[chosen] = planes.view(count, 3, height, width)
    return blurred


def _mixing(saturation: Tensor, turn: Tensor) -> Tensor:
    """Return the matrices [B, 3, 3] that scale the chroma by the saturation and turn it by the angle."""
    cosine, sine = saturation * torch.cos(turn), saturation * torch.sin(turn)
    one, zero = torch.ones_like(turn), torch.zeros_like(turn)
    chroma = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1).view(-1, 3, 3)
    mixing: Tensor = torch.linalg.inv(_YIQ) @ chroma @ _YIQ
    return mixing.float()


def _column(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device).view(-1, 1, 1, 1)


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()
