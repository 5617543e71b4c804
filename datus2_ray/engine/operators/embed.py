"""Embed: one forward pass per image; out come the affinity graph as bytes and, where wanted, patch vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.backbone.overlap import one_ahead
from datus2_ray.core.backbone.patches import extract_patches
from datus2_ray.core.backbone.vit import Tap, load_backbone
from datus2_ray.core.graph.build import binary_affinity, nearest_neighbours, pack, pair_penalties
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import prepare_device
from datus2_ray.engine.operators.read_images import pixels_of
from datus2_ray.store.columns import list_column
from datus2_ray.store.weights_cache import local_spec


class EmbedImages:
    """Actor that holds the backbone; weights are loaded here, never sent.

    `keep_tokens` keeps the final-norm patch tokens, for the baseline.
    """

    def __init__(
        self, backbone: str, config: DiscoverConfig, device: str, keep_tokens: bool, heartbeat: Heartbeat
    ) -> None:
        prepare_device(device)
        self._backbone = load_backbone(
            local_spec(backbone), device=device, dtype=config.arithmetic(device), compiled=config.compile
        )
        self._config = config
        blocks = range(config.block, config.block - config.blocks, -1)
        self._spanning = tuple(Tap(config.feature, block) for block in blocks) if config.unit == "segments" else None
        # What describes a segment are tokens, also where keys span its graph: of the same blocks and views.
        self._describing = tuple(Tap("token", block) for block in blocks) if config.describes_by_tokens else None
        self._baseline = [Tap("token")] if keep_tokens else []
        self._batch_size, _ = config.batch_sizes(device)
        self._heartbeat = heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Add ``grid_height`` and ``grid_width``; and ``graph``, ``features`` and ``tokens``, null where not wanted."""
        pixels, rows = pixels_of(block)
        count = len(block)
        columns: dict[str, list[Any]] = {
            name: [None] * count for name in ("grid_height", "grid_width", "graph", "features", "tokens")
        }
        batches = list(same_size(pixels, self._batch_size))
        embedded = one_ahead(self._embed(np.stack([pixels[i] for i in batch])) for batch in batches)
        for batch, (graphs, *vectors) in zip(batches, embedded, strict=True):
            height, width = self._backbone.grid(*pixels[batch[0]].shape[:2])
            found: list[list[Any]] = [
                [height] * len(batch),
                [width] * len(batch),
                [None] * len(batch) if graphs is None else [graph.cpu().numpy().tobytes() for graph in graphs],
            ]
            found += [[None] * len(batch) if kept is None else list(kept.cpu().numpy()) for kept in vectors]
            for column, values in zip(columns.values(), found, strict=True):
                for i, value in zip(batch, values, strict=True):
                    column[rows[i]] = value
        types = (pa.int32(), pa.int32(), pa.binary())
        for (name, values), kind in zip(columns.items(), types, strict=False):
            block = block.append_column(name, pa.array(values, kind))
        for name in ("features", "tokens"):
            block = block.append_column(name, list_column(columns[name], pa.list_(pa.float16(), self._backbone.dim)))
        return block

    def _embed(self, pixels: np.ndarray) -> tuple[list[Tensor] | None, Tensor | None, Tensor | None]:
        """Return the graphs of a batch as bytes, its features and its tokens, still on the device."""
        means = [taps for taps in (self._spanning, self._describing) if taps is not None]
        config, shown = self._config, torch.from_numpy(pixels)
        vectors, tokens = extract_patches(
            self._backbone, shown, means, self._baseline, mirrored=config.mirror, tile=config.tile
        )
        self._heartbeat.beat()
        graphs = None
        if self._spanning is not None:
            # One product an image: a batched one may sum in another order for another batch.
            graphs = [self._graph(*one) for one in zip(vectors[0], shown, strict=True)]
        features = vectors[-1].to(torch.float16) if self._describing is not None else None
        return graphs, features, tokens[self._baseline[0]].to(torch.float16) if self._baseline else None

    def _graph(self, vectors: Tensor, pixels: Tensor) -> Tensor:
        config = self._config
        if config.graph == "binary":
            return pack(binary_affinity(vectors))
        penalties = None
        if config.place or config.colour:
            grid = self._backbone.grid(*pixels.shape[:2])
            penalties = pair_penalties(pixels.to(vectors.device), grid, config.place, config.colour)
        return nearest_neighbours(vectors, config.neighbours, threshold=config.threshold, penalties=penalties)


def same_size(pixels: Sequence[np.ndarray], max_images: int) -> Iterator[list[int]]:
    """Yield batches of at most `max_images` images of one size, as their numbers; sizes in order of appearance."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(pixels):
        groups.setdefault(image.shape, []).append(number)
    for group in groups.values():
        for start in range(0, len(group), max_images):
            yield group[start : start + max_images]
