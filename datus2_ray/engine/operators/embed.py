"""Embed: one forward pass per image; out come the affinity graph as bytes and, where wanted, patch tokens."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.backbone.overlap import one_ahead
from datus2_ray.core.backbone.patches import extract_patches
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.graph.build import binary_affinity, nearest_neighbours, pack, pair_penalties
from datus2_ray.core.views.windows import Windows
from datus2_ray.engine.heartbeat import Heartbeat, forget_memory, peak_memory
from datus2_ray.engine.machines import prepare_device
from datus2_ray.engine.operators.read_images import pixels_of
from datus2_ray.store.columns import list_column
from datus2_ray.store.weights_cache import local_spec


class EmbedImages:
    """Actor that holds the backbone; weights are loaded here, never sent.

    Parameters
    ----------
    graphs : bool
        Whether a graph is built of the vectors that `config` names.
    tokens : bool
        Whether tokens of the patches leave the device: of the same blocks and views, also where keys span the graph.
    windows : Windows, optional
        How large images are seen, as their reader shows them; without, no image is large.
    """

    def __init__(
        self,
        backbone: str,
        config: DiscoverConfig,
        device: str,
        heartbeat: Heartbeat,
        graphs: bool,
        tokens: bool,
        windows: Windows | None = None,
    ) -> None:
        prepare_device(device)
        forget_memory()
        self._backbone = load_backbone(
            local_spec(backbone), device=device, dtype=config.arithmetic(device), compiled=config.compile
        )
        self._config = config
        blocks = range(config.block, config.block - config.blocks, -1)
        #: Kinds of vectors, each as the taps whose mean it is.
        self._means = {
            **({"graph": tuple(Tap(config.feature, block) for block in blocks)} if graphs else {}),
            **({"tokens": tuple(Tap("token", block) for block in blocks)} if tokens else {}),
        }
        self._batch_size, _ = config.batch_sizes(device)
        self._heartbeat = heartbeat
        self._windows = windows

    def __call__(self, block: pa.Table) -> pa.Table:
        """Add ``grid_height``, ``grid_width``, ``graph`` and ``tokens``; the last two are null where not wanted."""
        pixels, rows = pixels_of(block)
        count = len(block)
        columns: dict[str, list[Any]] = {
            name: [None] * count for name in ("grid_height", "grid_width", "graph", "tokens")
        }
        large = self._are_large(block, rows)
        batches = list(alike([(one.shape, seen) for one, seen in zip(pixels, large, strict=True)], self._batch_size))
        embedded = one_ahead(self._embed(np.stack([pixels[i] for i in batch]), large[batch[0]]) for batch in batches)
        for batch, (graphs, tokens) in zip(batches, embedded, strict=True):
            height, width = self._backbone.grid(*pixels[batch[0]].shape[:2])
            nothing = [None] * len(batch)
            found: list[list[Any]] = [
                [height] * len(batch),
                [width] * len(batch),
                nothing if graphs is None else [graph.cpu().numpy().tobytes() for graph in graphs],
                nothing if tokens is None else list(tokens.cpu().numpy()),
            ]
            for column, values in zip(columns.values(), found, strict=True):
                for i, value in zip(batch, values, strict=True):
                    column[rows[i]] = value
        for name, kind in {"grid_height": pa.int32(), "grid_width": pa.int32(), "graph": pa.binary()}.items():
            block = block.append_column(name, pa.array(columns[name], kind))
        vectors = list_column(columns["tokens"], pa.list_(pa.float16(), self._backbone.dim))
        return block.append_column("tokens", vectors)

    def _are_large(self, block: pa.Table, rows: list[int]) -> list[bool]:
        sizes = zip(block["height"].to_pylist(), block["width"].to_pylist(), strict=True)
        large = [self._windows is not None and self._windows.is_large(*size) for size in sizes]
        return [large[row] for row in rows]

    def _embed(self, pixels: np.ndarray, large: bool) -> tuple[list[Tensor] | None, Tensor | None]:
        """Return the graphs of a batch as bytes, and its tokens, still on the device."""
        config, shown = self._config, torch.from_numpy(pixels)
        means, windows = list(self._means.values()), self._windows if large else None
        found = extract_patches(
            self._backbone,
            shown,
            means,
            mirrored=config.mirror,
            tile=windows.side if windows and config.tile is None else config.tile,
            on_window=self._heartbeat.beat,
        )
        vectors = dict(zip(self._means, found, strict=True))
        self._heartbeat.beat(peak_memory())
        graphs, tokens = None, None
        if "graph" in vectors:
            # One product an image: a batched one may sum in another order for another batch.
            graphs = [self._graphs(*one, windows) for one in zip(vectors["graph"], shown, strict=True)]
        if "tokens" in vectors:
            tokens = vectors["tokens"].to(torch.float16)
        return graphs, tokens

    def _graphs(self, vectors: Tensor, pixels: Tensor, windows: Windows | None) -> Tensor:
        """Return the graph of an image, or those of the blocks of a large one, as bytes one after the other."""
        if windows is None:
            return self._graph(vectors, pixels)
        grid, side = self._backbone.grid(*pixels.shape[:2]), self._backbone.patch_size
        cells, graphs = vectors.reshape(*grid, -1), list[Tensor]()
        for down, across in windows.blocks(*grid):
            shown = pixels[down.start * side : down.stop * side, across.start * side : across.stop * side]
            graphs.append(self._graph(cells[down, across].flatten(0, 1), shown).flatten())
        return torch.cat(graphs)

    def _graph(self, vectors: Tensor, pixels: Tensor) -> Tensor:
        config = self._config
        if config.graph == "binary":
            return pack(binary_affinity(vectors))
        penalties = None
        if config.place or config.colour:
            grid = self._backbone.grid(*pixels.shape[:2])
            penalties = pair_penalties(pixels.to(vectors.device), grid, config.place, config.colour)
        return nearest_neighbours(vectors, config.neighbours, threshold=config.threshold, penalties=penalties)


def alike(kinds: Sequence[Hashable], max_images: int) -> Iterator[list[int]]:
    """Yield batches of at most `max_images` images of one kind, as their numbers; kinds in order of appearance."""
    groups: dict[Hashable, list[int]] = {}
    for number, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(number)
    for group in groups.values():
        for start in range(0, len(group), max_images):
            yield group[start : start + max_images]
