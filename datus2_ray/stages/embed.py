"""Embed: one forward pass an image; out come the affinity graph as bytes and, where wanted, the patch tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from datus2_ray.columns import list_column
from datus2_ray.core.affinity import binary_affinity, pack
from datus2_ray.core.backbone import Tap, load_backbone
from datus2_ray.core.neighbour_graph import nearest_neighbours
from datus2_ray.core.overlap import one_ahead
from datus2_ray.resources import prepare_device
from datus2_ray.stage_configs import DiscoverConfig
from datus2_ray.stages.heartbeat import Heartbeat
from datus2_ray.stages.read import pixels_of, scatter
from datus2_ray.weights_cache import local_spec


class EmbedImages:
    """Actor that holds the backbone.

    Parameters
    ----------
    backbone : str
        Name, file or URI of the backbone; weights are loaded here, never sent.
    config : DiscoverConfig
        Which features, how many images a pass, in which arithmetic.
    device : str
        ``cpu`` or ``cuda``.
    keep_tokens : bool
        Whether the final-norm patch tokens go on as well.
    heartbeat : Heartbeat
        Told after every forward pass.
    """

    def __init__(
        self, backbone: str, config: DiscoverConfig, device: str, keep_tokens: bool, heartbeat: Heartbeat
    ) -> None:
        prepare_device(device)
        self._backbone = load_backbone(
            local_spec(backbone),
            input_size=config.input_size,
            device=device,
            dtype=config.arithmetic(device),
            compiled=config.compile,
        )
        self._config = config
        self._feature = Tap(config.feature, config.block)
        self._token = Tap("token") if keep_tokens else None
        self._batch_size, _ = config.batch_sizes(device)
        self._heartbeat = heartbeat
        self._size = config.input_size

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace nothing and add the columns ``grid_height``, ``grid_width``, ``graph`` and ``tokens``."""
        pixels, rows = pixels_of(block, self._size)
        graphs: list[bytes] = []
        tokens: list[np.ndarray | None] = []
        starts = range(0, len(rows), self._batch_size)
        batches = (self._embed(pixels[start : start + self._batch_size]) for start in starts)
        for computed, kept in one_ahead(batches):
            graphs += [graph.cpu().numpy().tobytes() for graph in computed]
            if kept is not None:
                tokens += list(kept.cpu().numpy())
        height, width = self._backbone.grid(self._size, self._size)
        count = len(block)
        tokens = tokens or [None] * len(rows)
        token_type = pa.list_(pa.float16(), self._backbone.dim)
        block = block.append_column("grid_height", pa.array([height] * count, pa.int32()))
        block = block.append_column("grid_width", pa.array([width] * count, pa.int32()))
        block = block.append_column("graph", pa.array(scatter(graphs, rows, count), pa.binary()))
        return block.append_column("tokens", list_column(scatter(tokens, rows, count), token_type))

    def _embed(self, pixels: np.ndarray) -> tuple[list[Tensor], Tensor | None]:
        """Give the graphs of a batch as bytes, and its tokens, still on the device."""
        taps = [self._feature] if self._token is None else [self._feature, self._token]
        features = self._backbone.extract(torch.from_numpy(pixels), taps)
        self._heartbeat.beat()
        # One product an image: a batched one may sum in another order for another batch.
        graphs = [self._graph(vectors) for vectors in features[self._feature]]
        return graphs, None if self._token is None else features[self._token].to(torch.float16)

    def _graph(self, vectors: Tensor) -> Tensor:
        if self._config.graph == "neighbours":
            return nearest_neighbours(vectors, self._config.neighbours)
        return pack(binary_affinity(vectors))
