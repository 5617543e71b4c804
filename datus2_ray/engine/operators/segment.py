"""Segment: the affinity graph of an image → Louvain communities → valid segments on its patch grid, or its patches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.core.describe.tokens import mean_tokens
from datus2_ray.core.graph.links import LINK, symmetric_graph
from datus2_ray.core.graph.louvain import Partition, louvain
from datus2_ray.core.graph.segments import Segments, every_patch, find_segments, give_noise_away
from datus2_ray.engine.operators.read_images import PIXELS, scatter
from datus2_ray.store.columns import list_arrays, list_column


@dataclass(frozen=True)
class FindSegments:
    """CPU task: replace ``graph`` by the columns that describe the segments.

    An image's seed comes from the run's and its id, never from the order of arrival. ``tokens`` become null where they
    are not kept, after the segments are described by them.
    """

    config: DiscoverConfig
    seed: int
    keep_tokens: bool = False

    def __call__(self, block: pa.Table) -> pa.Table:
        """Find the segments of one part."""
        rows = [row for row, well in enumerate(block["grid_height"].is_valid().to_pylist()) if well]
        grid = list(zip(block["grid_height"].to_pylist(), block["grid_width"].to_pylist(), strict=True))
        graphs, tokens = block["graph"].combine_chunks(), list_arrays(block["tokens"])
        found: list[tuple[Partition | None, Segments]] = []
        for row in rows:
            if self.config.unit == "patches":
                found.append((None, every_patch(*grid[row])))
                continue
            image_id = block["image_id"][row].as_py()
            partition, segments = self._find(graphs[row].as_buffer(), *grid[row], image_seed(self.seed, image_id))
            if self.config.noise == "given":
                segments = give_noise_away(segments, np.asarray(tokens[row]))
            found.append((partition, segments))
        count = len(block)
        maps = [segments.patch_map.ravel() for _, segments in found]
        columns = {
            "patch_map": list_column(scatter(maps, rows, count), pa.int16()),
            "sizes": list_column(scatter([s.sizes for _, s in found], rows, count), pa.int32()),
            "boxes": list_column(scatter([s.boxes for _, s in found], rows, count), pa.list_(pa.int16(), 4)),
            "found": pa.array(scatter([s.found for _, s in found], rows, count), pa.int32()),
            "communities": pa.array(scatter([p and p.communities for p, _ in found], rows, count), pa.int32()),
            "modularity": pa.array(scatter([p and p.modularity for p, _ in found], rows, count), pa.float64()),
        }
        if self.config.describes_by_tokens:
            pairs = zip(rows, found, strict=True)
            means = [mean_tokens(np.asarray(tokens[row]), s.patch_map, len(s.sizes)) for row, (_, s) in pairs]
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

    def _find(self, graph: pa.Buffer, height: int, width: int, seed: int) -> tuple[Partition, Segments]:
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
        return partition, find_segments(partition.labels.reshape(height, width), self.config.tau)


def image_seed(seed: int, image_id: str) -> int:
    """Derive an image's seed from the run's: the same whoever works on it, and whenever."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{image_id}".encode()).digest()[:4], "big")
