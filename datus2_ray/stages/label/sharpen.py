"""What every actor does that sharpens masks: labels of patches and pixels in, the label of every pixel out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from datus2_ray.core.images.labels import patch_labels
from datus2_ray.core.images.pamr import sharpen
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import prepare_device
from datus2_ray.engine.operators.read_images import PIXELS, pixels_of, scatter


class SharpenMasks:
    """Actor that draws the borders between clusters along the edges of the image."""

    def __init__(self, device: str, heartbeat: Heartbeat) -> None:
        prepare_device(device)
        self._device = device
        self._heartbeat = heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace pixels and ``patches`` by ``labels``: of every pixel at the image's own size, as raw bytes."""
        pixels, rows = pixels_of(block)
        labels: list[bytes] = []
        for image, row in zip(pixels, rows, strict=True):
            grid = block["grid_height"][row].as_py(), block["grid_width"][row].as_py()
            patches = patch_labels(block["patches"][row].as_py(), *grid)
            own = block["height"][row].as_py(), block["width"][row].as_py()
            labels.append(self.draw(np.array(image), patches, *own).tobytes())
            self._heartbeat.beat()
        column = pa.array(scatter(labels, rows, len(block)), pa.large_binary())
        block = block.drop_columns([*PIXELS, "patches", "grid_height", "grid_width"])
        return block.append_column("labels", column)

    @torch.inference_mode()
    def draw(self, image: np.ndarray, patches: np.ndarray, height: int, width: int) -> np.ndarray:
        """Return the label of every pixel, (height, width), of the data type of `patches`.

        Parameters
        ----------
        image : ndarray
            uint8 RGB, (H, W, 3), at the working size.
        patches : ndarray
            Label of every patch, (h, w); noise is a label like others, for it has borders too.
        height, width : int
            Size of the image itself.
        """
        # Only what occurs in this image: its time does not grow with K.
        present, index = np.unique(patches, return_inverse=True)
        classes = torch.from_numpy(index.reshape(patches.shape)).to(self._device)
        soft = functional.one_hot(classes, len(present)).permute(2, 0, 1).float()[None]
        soft = functional.interpolate(soft, image.shape[:2], mode="bilinear", align_corners=False)[0]
        sharp = sharpen(torch.from_numpy(image).permute(2, 0, 1).to(self._device), soft)
        drawn: np.ndarray = present[predict_labels(sharp, height, width)]
        return drawn
