"""Segment: the affinity graph of an image → Louvain communities → valid segments on its patch grid, or its patches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.describe.tokens import mean_tokens
from datus2_ray.core.graph.links import LINK, symmetric_graph
from datus2_ray.core.graph.louvain import louvain
from datus2_ray.core.graph.segments import Segments, every_patch, find_segments, give_noise_away, join_segments
from datus2_ray.core.views.windows import Block, Windows
from datus2_ray.engine.operators.read_images import PIXELS, scatter
from datus2_ray.store.columns import list_arrays, list_column


@dataclass(frozen=True)
class Found:
    """The segments of an image, and what its communities were, where some were sought."""

    segments: Segments
    communities: int | None = None
    modularity: float | None = None


@dataclass(frozen=True)
class FindSegments:
    """CPU task: replace ``graph`` by the columns that describe the segments.

    An image's seed comes from the run's and its id, never from the order of arrival. ``tokens`` become null where they
    are not kept, after the segments are described by them. `windows` say which images are large, and their blocks.
    """

    config: DiscoverConfig
    seed: int
    keep_tokens: bool = False
    windows: Windows | None = None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Find the segments of one part."""
        rows = [row for row, well in enumerate(block["grid_height"].is_valid().to_pylist()) if well]
        grid = list(zip(block["grid_height"].to_pylist(), block["grid_width"].to_pylist(), strict=True))
        graphs, tokens = block["graph"].combine_chunks(), list_arrays(block["tokens"])
        sizes = list(zip(block["height"].to_pylist(), block["width"].to_pylist(), strict=True))
        found: list[Found] = []
        for row in rows:
            if self.config.unit == "patches":
                found.append(Found(every_patch(*grid[row])))
                continue
            seed = image_seed(self.seed, block["image_id"][row].as_py())
            graph, of_image = graphs[row].as_buffer(), None if tokens[row] is None else np.asarray(tokens[row])
            if self.windows is None or not self.windows.is_large(*sizes[row]):
                found.append(self._find(graph, *grid[row], of_image, seed))
            else:
                found.append(self._find_in_blocks(graph, grid[row], self.windows.blocks(*grid[row]), of_image, seed))
        count = len(block)
        segments = [one.segments for one in found]
        maps = [one.patch_map.ravel() for one in segments]
        columns = {
            "patch_map": list_column(scatter(maps, rows, count), pa.int16()),
            "sizes": list_column(scatter([one.sizes for one in segments], rows, count), pa.int32()),
            "boxes": list_column(scatter([one.boxes for one in segments], rows, count), pa.list_(pa.int16(), 4)),
            "found": pa.array(scatter([one.found for one in segments], rows, count), pa.int32()),
            "communities": pa.array(scatter([one.communities for one in found], rows, count), pa.int32()),
            "modularity": pa.array(scatter([one.modularity for one in found], rows, count), pa.float64()),
        }
        if self.config.describes_by_tokens:
            pairs = zip(rows, segments, strict=True)
            means = [mean_tokens(np.asarray(tokens[row]), s.patch_map, len(s.sizes)) for row, s in pairs]
            dim = block.schema.field("tokens").type.value_type.list_size
            columns["descriptors"] = list_column(scatter(means, rows, count), pa.list_(pa.float32(), dim))
        if self.config.pools == 1:  # no crops are cut
            block = block.drop_columns(PIXELS)
        for name, column in columns.items():
            block = block.append_column(name, column)
        if not self.keep_tokens:
            place, kind = block.column_names.index("tokens"), block.schema.field("tokens")
            block = block.set_column(place, kind, pa.nulls(count, kind.type))
        return block.drop_columns(["graph"])

    def _find(
        self, graph: pa.Buffer | memoryview, height: int, width: int, tokens: np.ndarray | None, seed: int
    ) -> Found:
        """Find the segments of a grid of patches, whose tokens are needed where noise is given away."""
        config = self.config
        adjacency: np.ndarray | sp.csr_matrix
        if config.graph == "neighbours":
            adjacency = symmetric_graph(np.frombuffer(graph, dtype=LINK).reshape(height * width, -1))
        else:
            adjacency = np.frombuffer(graph, dtype=np.uint8).reshape(height * width, -1)
        partition = louvain(
            adjacency,
            library=config.louvain,
            resolution=config.resolution,
            seed=seed,
            orders=config.louvain_orders,
        )
        segments = find_segments(partition.labels.reshape(height, width), config.tau)
        if config.noise == "given" and tokens is not None:
            segments = give_noise_away(segments, tokens)
        return Found(segments, partition.communities, partition.modularity)

    def _find_in_blocks(
        self, graph: pa.Buffer, grid: tuple[int, int], blocks: Sequence[Block], tokens: np.ndarray | None, seed: int
    ) -> Found:
        """Find the segments of a large image, block by block: each has the size of an image that is seen whole."""
        cells = None if tokens is None else tokens.reshape(*grid, -1)
        parts: list[Found] = []
        start = 0
        for down, across in blocks:
            height, width = down.stop - down.start, across.stop - across.start
            stop = start + self._graph_bytes(height * width)
            of_block = None if cells is None else cells[down, across].reshape(height * width, -1)
            parts.append(self._find(memoryview(graph)[start:stop], height, width, of_block, seed))
            start = stop
        joined = join_segments([(cut, part.segments) for cut, part in zip(blocks, parts, strict=True)], *grid)
        communities = [part.communities or 0 for part in parts]
        # One community per block is no structure, as one of an image is none.
        total = 1 if max(communities) == 1 else sum(communities)
        return Found(joined, total, float(np.mean([part.modularity for part in parts])))

    def _graph_bytes(self, patches: int) -> int:
        """Return the bytes of the graph of a block, as :mod:`~datus2_ray.core.graph.build` lays it out."""
        if self.config.graph == "neighbours":
            return patches * min(self.config.neighbours, patches - 1) * LINK.itemsize
        return patches * ((patches + 7) // 8)


def image_seed(seed: int, image_id: str) -> int:
    """Derive an image's seed from the run's: the same whoever works on it, and whenever."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{image_id}".encode()).digest()[:4], "big")
