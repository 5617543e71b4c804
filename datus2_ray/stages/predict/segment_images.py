"""The actor of the prediction by DeepLabV3: pixels in, the most likely cluster of every pixel out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from datus2_ray.core.refine.file import from_bytes
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import prepare_device
from datus2_ray.engine.operators.read_images import PIXELS, pixels_of, scatter
from datus2_ray.store import storage

#: Images per forward pass. Fixed: what shares a batch may change the last bit, so a part is always cut alike.
BATCH_SIZE = 8


class SegmentImages:
    """Actor that holds the segmenter; weights are loaded here, never sent.

    With `mirror` the logits are the mean of those for the image and, mirrored back, for its mirror image.
    """

    def __init__(self, segmenter: str, device: str, heartbeat: Heartbeat, mirror: bool) -> None:
        prepare_device(device)
        self._mirror = mirror
        self._heartbeat = heartbeat
        self._device = device
        self._segmenter = from_bytes(storage.read_bytes(segmenter)).to(device).eval()

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace the pixels by ``labels``: the cluster of every pixel at the image's own size, as raw bytes."""
        pixels, rows = pixels_of(block)
        heights, widths = block["height"].to_pylist(), block["width"].to_pylist()
        labels: list[bytes] = []
        with torch.inference_mode():
            for start in range(0, len(rows), BATCH_SIZE):
                images = torch.from_numpy(np.stack(pixels[start : start + BATCH_SIZE])).permute(0, 3, 1, 2)
                logits = self._logits(images.to(self._device))
                for image_logits, row in zip(logits, rows[start : start + BATCH_SIZE], strict=True):
                    labels.append(predict_labels(image_logits, heights[row], widths[row]).tobytes())
                self._heartbeat.beat()
        column = pa.array(scatter(labels, rows, len(block)), pa.large_binary())
        return block.drop_columns(PIXELS).append_column("labels", column)

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self._segmenter(images)
        return (logits + self._segmenter(images.flip(3)).flip(3)) / 2 if self._mirror else logits
