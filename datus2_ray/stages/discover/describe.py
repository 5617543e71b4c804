"""Describe: a second forward pass over the blacked-out crop of every segment, batched across the images of a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.backbone.cnn import load_cnn
from datus2_ray.core.backbone.overlap import one_ahead
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.describe.crops import CROP_SIZE, crops
from datus2_ray.core.describe.tokens import join, l2_normalise
from datus2_ray.engine.heartbeat import Heartbeat, forget_memory, peak_memory
from datus2_ray.engine.machines import prepare_device
from datus2_ray.engine.operators.read_images import PIXELS, pixels_of, scatter
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.weights_cache import local_spec


class DescribeCrops:
    """Actor that holds the extractor, the ViT again (its CLS token) or a CNN, and describes the crops of segments."""

    def __init__(self, backbone: str, config: DiscoverConfig, device: str, heartbeat: Heartbeat) -> None:
        prepare_device(device)
        forget_memory()
        self._device = device
        self._heartbeat = heartbeat
        _, self._batch_size = config.batch_sizes(device)
        self.dim, self._extract = _extractor(backbone, config, device)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take the pixels away and add ``descriptors``, or join the crops' to those that are there."""
        pixels, rows = pixels_of(block)
        boxes = list_arrays(block["boxes"])
        counts = [len(np.asarray(boxes[row])) for row in rows]
        vectors = self._describe(self._crops(block, pixels, rows))
        ends = np.cumsum(counts).tolist()
        descriptors = [vectors[end - count : end] for end, count in zip(ends, counts, strict=True)]
        dim = self.dim
        if "descriptors" in block.column_names:
            means = list_arrays(block["descriptors"])
            dim += block.schema.field("descriptors").type.value_type.list_size
            descriptors = [join(np.asarray(means[row]), crop) for row, crop in zip(rows, descriptors, strict=True)]
            block = block.drop_columns(["descriptors"])
        column = list_column(scatter(descriptors, rows, len(block)), pa.list_(pa.float32(), dim))
        return block.drop_columns(PIXELS).append_column("descriptors", column)

    def _crops(self, block: pa.Table, pixels: list[np.ndarray], rows: list[int]) -> Iterator[Tensor]:
        """Cut the crops one image at a time: those of a whole part take a gigabyte."""
        boxes, maps = list_arrays(block["boxes"]), list_arrays(block["patch_map"])
        heights, widths = block["grid_height"].to_pylist(), block["grid_width"].to_pylist()
        for image, row in zip(pixels, rows, strict=True):
            patch_map = torch.from_numpy(np.array(maps[row])).reshape(heights[row], widths[row]).to(self._device)
            yield crops(torch.tensor(image, device=self._device), patch_map, np.asarray(boxes[row]))

    def _describe(self, cut: Iterable[Tensor]) -> np.ndarray:
        batches = one_ahead(self._pass(batch) for batch in rebatch(cut, self._batch_size))
        vectors = [batch.float().cpu().numpy() for batch in batches]
        return l2_normalise(np.concatenate([np.empty((0, self.dim), dtype=np.float32), *vectors]))

    def _pass(self, batch: Tensor) -> Tensor:
        vectors = self._extract(batch)
        self._heartbeat.beat(peak_memory())
        return vectors


def rebatch(tensors: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield batches of `size` rows, the last of what is left, from tensors of any number of rows."""
    kept: list[Tensor] = []
    for tensor in tensors:
        for row in tensor:
            kept.append(row)
            if len(kept) == size:
                yield torch.stack(kept)
                kept = []
    if kept:
        yield torch.stack(kept)


def _extractor(backbone: str, config: DiscoverConfig, device: str) -> tuple[int, Callable[[Tensor], Tensor]]:
    dtype = config.arithmetic(device)
    if config.descriptor == "cnn":
        cnn = load_cnn(local_spec(str(config.cnn)), device=device, dtype=dtype)
        return cnn.dim, cnn.embed
    spec = local_spec(backbone)
    vit = load_backbone(spec, input_size=CROP_SIZE, device=device, dtype=dtype, compiled=config.compile)
    tap = Tap("cls")
    return vit.dim, lambda pixels: vit.extract(pixels, [tap])[tap]
