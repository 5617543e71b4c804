"""A small finished run, made of tables with the real schemas and without Ray, in every variety a report meets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from datus2_ray.config import load
from datus2_ray.core.images.labels import encode_labels, upsample_nearest
from datus2_ray.core.score.confusion import score
from datus2_ray.core.score.counting import confusion_matrix
from datus2_ray.report.scores import BASELINES
from datus2_ray.stages.label.label import paint
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import (
    Clustered,
    Discovered,
    Facts,
    Ingested,
    Labelled,
    LayerFitted,
    Predicted,
    Refined,
    Surveyed,
)
from datus2_ray.store.run_folder import ALL_QUARANTINED, RunFolder, part_name

GRID = 8

#: Of every stage.
FINGERPRINT = "0123456789abcdef"


def add_result(run: RunFolder, facts: Facts, parts: dict[str, int], fingerprint: str = FINGERPRINT) -> None:
    """Commit a result and make it current."""
    rows = sum(parts.values())
    run.commit(Commit(run.result(facts.stage, fingerprint), fingerprint, rows, rows, 0, parts, facts))
    run.set_current({**run.current(), facts.stage: fingerprint})


REFINED = Refined(
    loss="cross-entropy",
    size=224,
    clusters=4,
    workers=1,
    batch_size=8,
    steps=4000,
    epochs=2,
    best_epoch=1,
    best_step=4,
    best_loss=1.2,
    checkpoint="segmenter.safetensors",
    targets="label",
    encoder="resnet18",
    encoder_start="random",
    supervised=False,
    output_stride=16,
)


FITTED = LayerFitted(
    clusters=4, dim=192, backbone="sha256=0", images=5, share=1.0, tokens=320, workers=1, steps=4,
    agreements=(0.9, 0.99), loss=0.2, model="model.safetensors",
)  # fmt: skip


@dataclass
class RunMaker:
    """Makes runs; the attributes say what is in them.

    ``perfect`` masks are the ground truth with the classes' numbers permuted.
    """

    folder: Path
    images: int = 5
    clusters: int = 4
    classes: Sequence[str] | None = ("sky", "grass", "tree")
    refined: bool = True
    em: bool = False
    dataset: str = "folder"
    perfect: bool = False
    image_ids: Sequence[str] | None = None
    images_per_part: int = 2
    quarantine: Sequence[dict[str, str]] = ()
    trained: bool = True
    refinement: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def make(self) -> RunFolder:
        run = RunFolder(str(self.folder))
        run.claim("/photos/holiday", "run")
        random = np.random.default_rng(self.seed)
        ids = sorted(self.image_ids or [f"image_{i:03d}" for i in range(self.images)])
        names = self.classes
        confusions = {
            name: np.zeros((len(names or ()), self.clusters + 1), np.int64) for name in ("initial", "refined")
        }
        parts: dict[str, int] = {}
        for start in range(0, len(ids), self.images_per_part):
            part, chosen = part_name(start // self.images_per_part), ids[start : start + self.images_per_part]
            parts[part] = len(chosen)
            rows = [self._image(image_id, random) for image_id in chosen]
            self._write(run, part, rows)
            for row in rows if names else ():
                for name in confusions:
                    confusions[name] += confusion_matrix(row["truth"], row[name], len(names or ()), self.clusters)
        surveyed = [Surveyed(len(ids), tuple(names), tuple(range(len(names))))] if names else []
        made = (Ingested(self.dataset), *surveyed, Discovered(), Labelled(), *([Predicted()] if self.refined else []))
        for facts in made:
            add_result(run, facts, parts)
        self._write_clusters(run)
        if self.quarantine:
            quarantine = pa.Table.from_pylist(list(self.quarantine), schema=schemas.QUARANTINE)
            parquet.write_table(run.path(ALL_QUARANTINED), quarantine)
        refinement = self._write_refinement(run)
        metrics = None
        if names:
            metrics = {"classes": list(names), "clusters": self.clusters, "seed": 0, "images": len(ids)}
            metrics |= {name: score(confusions[name]) for name in ("initial", "refined")[: 1 + self.refined]}
            metrics |= {name: score(confusions["initial"]) for name in BASELINES}
        self._write_summary(run, len(ids), refinement, metrics)
        return run

    def _image(self, image_id: str, random: np.random.Generator) -> dict[str, Any]:
        height, width = int(random.integers(24, 60)), int(random.integers(24, 60))
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        # Stripes of two rows: each a segment, but for the last, which is noise.
        patch_map = (np.arange(GRID * GRID) // (2 * GRID)).reshape(GRID, GRID)
        patch_map[patch_map == 3] = -1
        labels = random.integers(0, self.clusters, 3).astype(np.int32)
        classes = len(self.classes or "x")
        if self.perfect:
            truth_patches = random.integers(0, classes, (GRID, GRID)).astype(np.uint8)
            mask = upsample_nearest((truth_patches + 1) % np.uint8(classes), height, width)
            truth = upsample_nearest(truth_patches, height, width)
        else:
            truth = random.integers(0, classes, (height, width)).astype(np.uint8)
            truth[:3] = 255
            mask = upsample_nearest(paint(patch_map, labels, self.clusters), height, width)
        refined = random.integers(0, self.clusters, (height, width)).astype(mask.dtype)
        png = BytesIO()
        Image.fromarray(pixels).save(png, format="PNG")
        return {
            "image_id": image_id,
            "image": png.getvalue(),
            "height": height,
            "width": width,
            "truth": truth,
            "patch_map": patch_map.ravel(),
            "initial": mask,
            "refined": refined,
            "segment_clusters": labels,
            "segment_distances": random.random(3).astype(np.float32),
        }

    def _write(self, run: RunFolder, part: str, rows: list[dict[str, Any]]) -> None:
        def column(name: str) -> list[Any]:
            return [row[name] for row in rows]

        truth = [encode_labels(mask) if self.classes else None for mask in column("truth")]
        images = {name: column(name) for name in ("image_id", "image", "height", "width")} | {"mask": truth}
        images |= {name: [None] * len(rows) for name in ("file", "mask_fault", *schemas.RANGE)}
        parquet.write_table(self._part(run, Ingested, part), pa.table(images, schema=schemas.IMAGES))
        n, schema = len(rows), schemas.segments(2, 2)
        segments = {
            "image_id": column("image_id"),
            "height": column("height"),
            "width": column("width"),
            "grid_height": [GRID] * n,
            "grid_width": [GRID] * n,
            "patch_map": list_column(column("patch_map"), pa.int16()),
            "sizes": list_column([np.full(3, 2 * GRID)] * n, pa.int32()),
            "boxes": pa.nulls(n, schema.field("boxes").type),
            "descriptors": pa.nulls(n, schema.field("descriptors").type),
            "found": [5] * n,
            "communities": [4] * n,
            "modularity": [0.5] * n,
            "tokens": pa.nulls(n, schema.field("tokens").type),
        }
        parquet.write_table(self._part(run, Discovered, part), pa.table(segments, schema=schema))
        masks = {
            "image_id": column("image_id"),
            "mask": [encode_labels(mask) for mask in column("initial")],
            "segment_clusters": list_column(column("segment_clusters"), pa.int32()),
            "segment_distances": list_column(column("segment_distances"), pa.float32()),
            **{name: pa.nulls(n, schemas.INITIAL_MASKS.field(name).type) for name in schemas.INITIAL_MASKS.names[4:]},
        }
        parquet.write_table(self._part(run, Labelled, part), pa.table(masks, schema=schemas.INITIAL_MASKS))
        if self.refined:
            refined = {"image_id": column("image_id"), "mask": [encode_labels(mask) for mask in column("refined")]}
            parquet.write_table(self._part(run, Predicted, part), pa.table(refined, schema=schemas.MASKS))

    def _part(self, run: RunFolder, facts: type[Facts], part: str) -> str:
        return storage.join(run.result(facts.stage, FINGERPRINT), part)

    def _write_clusters(self, run: RunFolder) -> None:
        history = {"iteration": [1, 2, 3], "inertia": [9.0, 5.0, 4.5], "shift": [1.0, 0.1, 0.0], "relocated": [0] * 3}
        parquet.write_table(self._part(run, Clustered, "history.parquet"), pa.table(history, schema=schemas.HISTORY))
        facts = Clustered(self.clusters, 15, 4.5, 3, True, 0, (4.5, 6.0), "euclidean")
        add_result(run, facts, {})

    def _write_refinement(self, run: RunFolder) -> dict[str, Any]:
        if self.em:
            curve = {"step": range(1, 5), "round": [1, 1, 2, 2], "loss": [1.0, 0.5, 1.0, 0.2]}
            curve["agreement"] = [None, 0.9, None, 0.99]
            table = pa.table(curve, schema=schemas.EM_HISTORY)
            parquet.write_table(self._part(run, LayerFitted, "history.parquet"), table)
            add_result(run, replace(FITTED, clusters=self.clusters), {})
        if not self.refined:
            return {"skipped": "5 images with masks, under refine.min_images = 20"}
        history = {
            "step": pa.array([1, 2, 3, 4], pa.int32()),
            "epoch": pa.array([0, 0, 1, 1], pa.int32()),
            "train_loss": [1.4, 1.2, 1.1, 1.0],
            "learning_rate": [1e-3] * 4,
            "held_out_loss": [None, 1.3, None, 1.2],
        }
        parquet.write_table(self._part(run, Refined, "history.parquet"), pa.table(history))
        add_result(run, replace(REFINED, clusters=self.clusters, **self.refinement), {})
        return {}

    def _write_summary(
        self, run: RunFolder, images: int, refinement: dict[str, Any], metrics: dict[str, Any] | None
    ) -> None:
        config = load({"source": "photos/holiday", "out": run.uri, "clusters": self.clusters}, preset="paper")
        storage.write_json(run.path("config.json"), config.model_dump(mode="json"))
        EventLog(run.path("events.jsonl")).write("end", stage="evaluate", seconds=1.0)
        summary = {
            "images": images,
            "quarantined": len(self.quarantine),
            "segments": 3 * images,
            "clusters": self.clusters,
            "backbone": {"name": "vit_small_patch8_224.dino", "trained": self.trained, "supervised": False},
            "cnn": None,
            "refinement": refinement,
            "seconds": {"ingest": 1.5, "discover": 75.0},
            "versions": {"ray": "2.60.0"},
            "machine": {"system": "Linux", "processors": 2},
            "metrics": metrics,
        }
        storage.write_json(run.path("summary.json"), summary)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Give a function that makes a run: its arguments are the attributes of :class:`RunMaker`."""
    return lambda **contents: RunMaker(**{"folder": tmp_path / "run", **contents}).make()
