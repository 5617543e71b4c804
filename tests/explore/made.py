"""A run with everything that the explorer reads, made without Ray or a model, of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from datus2_ray.core.cluster.tree import merge
from datus2_ray.core.images.labels import encode_labels, paint, upsample_nearest
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Facts, Ingested, Labelled, Predicted, Surveyed
from datus2_ray.store.run_folder import RunFolder, part_name

FINGERPRINT = "fedcba9876543210" * 2
GRID = (6, 8)
SIZE = (96, 128)


def halves(data: bytes) -> np.ndarray:
    """Return the segments and the labels of a label map as the server sends it, int [2, H, W]."""
    pixels = np.array(Image.open(BytesIO(data))).astype(int)
    return (pixels[..., 0] + 256 * pixels[..., 1]).reshape(2, -1, pixels.shape[1])


@dataclass
class MadeRun:
    """Images of `segments` stripes, each of the colour of its fine cluster; K clusters of M fine ones."""

    folder: Path | str
    images: int = 10
    segments: int = 6
    leaves: int = 12
    k: int = 4
    per_part: int = 4
    ids: Sequence[str] | None = None
    classes: Sequence[str] = ("road", "sky", "tree")
    seed: int = 0
    one_picture: bool = False
    refined: bool = True

    def write(self) -> RunFolder:
        run = RunFolder(str(self.folder))
        run.claim("/photos", "run")
        random = np.random.default_rng(self.seed)
        self.colours = random.integers(40, 230, (self.leaves, 3), dtype=np.uint8)
        tree = merge(random.random((self.leaves, 2)), random.random(self.leaves) + 0.5)
        nodes = np.arange(self.leaves, 2 * self.leaves - 1, dtype=np.int32)
        columns = {
            "node": nodes,
            "left": tree.left,
            "right": tree.right,
            "height": tree.heights,
            "weight": tree.weights,
        }
        self._write(run, Clustered, "tree.parquet", pa.table(columns, schema=schemas.TREE))
        self.tree, members = tree, tree.members(self.k)
        ids = list(self.ids or (f"shot_{i:06d}" for i in range(self.images)))
        patch_map = (np.arange(GRID[0] * GRID[1]) * self.segments // (GRID[0] * GRID[1])).reshape(GRID)
        sizes = np.bincount(patch_map.ravel())
        parts: dict[str, int] = {}
        picture: bytes | None = None
        self.fine: dict[str, np.ndarray] = {}
        for start in range(0, len(ids), self.per_part):
            part, chosen = part_name(start // self.per_part), ids[start : start + self.per_part]
            n = parts[part] = len(chosen)
            fine = random.integers(0, self.leaves, (n, self.segments)).astype(np.int32)
            second = ((fine + random.integers(1, self.leaves, fine.shape)) % self.leaves).astype(np.int32)
            distance = random.random(fine.shape).astype(np.float32)
            farther = (distance * (1 + random.random(fine.shape) ** 2)).astype(np.float32)
            pictures = [picture or self._picture(patch_map, row) for row in fine]
            picture = pictures[0] if self.one_picture else None
            masks = [
                encode_labels(upsample_nearest(paint(patch_map, members[row], self.k), *SIZE))
                for row in fine[: 1 if self.one_picture else n]
            ]
            masks = masks * n if self.one_picture else masks
            self.fine |= dict(zip(chosen, fine, strict=True))
            sides = {"height": [SIZE[0]] * n, "width": [SIZE[1]] * n}
            files = [f"{image_id}.png" for image_id in chosen]
            images = {"image_id": chosen, "file": files, "image": pictures, **sides}
            others = {field.name: pa.nulls(n, field.type) for field in schemas.IMAGES if field.name not in images}
            self._write(run, Ingested, part, pa.table({**images, **others}, schema=schemas.IMAGES))
            grid = {
                "grid_height": pa.array([GRID[0]] * n, pa.int32()),
                "grid_width": pa.array([GRID[1]] * n, pa.int32()),
            }
            found = {
                "image_id": chosen,
                "height": pa.array([SIZE[0]] * n, pa.int32()),
                "width": pa.array([SIZE[1]] * n, pa.int32()),
                **grid,
                "patch_map": list_column([patch_map.ravel()] * n, pa.int16()),
                "sizes": list_column([sizes] * n, pa.int32()),
            }
            self._write(run, Discovered, part, pa.table(found))
            label = {
                "image_id": chosen,
                "mask": masks,
                "segment_clusters": list_column(list(members[fine]), pa.int32()),
                "segment_distances": list_column(list(distance), pa.float32()),
                "segment_fine": list_column(list(fine), pa.int32()),
                "segment_second": list_column(list(second), pa.int32()),
                "segment_second_distances": list_column(list(farther), pa.float32()),
            }
            self._write(run, Labelled, part, pa.table(label))
            if self.refined:
                self._write(run, Predicted, part, pa.table({"image_id": chosen, "mask": masks}, schema=schemas.MASKS))
        total = len(ids) * self.segments
        self._commit(run, Clustered(self.leaves, total, 1.0, 3, True, 0, (1.0,), "euclidean"), {})
        self._commit(run, Surveyed(0, tuple(self.classes)), parts)
        for facts in (Ingested("folder"), Discovered(), Labelled(), *([Predicted()] if self.refined else [])):
            self._commit(run, facts, parts)
        storage.write_json(run.path("config.json"), {"source": "/photos/holiday"})
        storage.write_json(run.path("summary.json"), {"clusters": self.k})
        return run

    def _picture(self, patch_map: np.ndarray, fine: np.ndarray) -> bytes:
        pixels = self.colours[fine][patch_map].repeat(16, axis=0).repeat(16, axis=1)
        file = BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        return file.getvalue()

    def _write(self, run: RunFolder, facts: type[Facts], name: str, table: pa.Table) -> None:
        parquet.write_table(storage.join(run.result(facts.stage, FINGERPRINT), name), table)

    def _commit(self, run: RunFolder, facts: Facts, parts: dict[str, int]) -> None:
        rows = sum(parts.values())
        run.commit(Commit(run.result(facts.stage, FINGERPRINT), FINGERPRINT, rows, rows, 0, parts, facts))
        run.set_current({**run.current(), facts.stage: FINGERPRINT})
