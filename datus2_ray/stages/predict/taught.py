"""Taught: masks of classes and their confidence, by the layer that learned the named segments.

The tokens of a run lie in the table of discover; those of images that it has not seen come from the backbone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.images.labels import encode_labels
from datus2_ray.core.names.masks import label_table
from datus2_ray.core.names.names import NamedClass, Names
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.decides import EMBED_IMAGES, image_reader, large_windows, segmentation_decides
from datus2_ray.engine.operators.encode import FAULT_COLUMNS
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.stages.predict.predict import IMAGE_BYTES, drop_pixels
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.facts import Discovered, Ingested, Labelled, Taught, TaughtMasks

if TYPE_CHECKING:  # they import torch, which takes seconds
    from datus2_ray.core.names.classify import Classified
    from datus2_ray.core.refine.token_layer import TokenLayer

#: Columns of the tokens that are read, beside those of segments.
GRID = ("image_id", "height", "width", "grid_height", "grid_width")

#: Those of segments, where an image has some.
SEGMENTS = ("patch_map", "segment_fine")


@dataclass(frozen=True)
class ReadSegments:
    """CPU task: read tokens and segments of a part's images that have an initial mask; both are URIs of tables."""

    tokens: str
    masks: str

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        part = block["part"][0].as_py()
        fine = parquet.read_table(storage.join(self.masks, part), ["image_id", "segment_fine"])
        rows = parquet.read_table(storage.join(self.tokens, part), [*GRID, "patch_map", "tokens"])
        rows = rows.take(pc.index_in(fine["image_id"], value_set=rows["image_id"].combine_chunks()))
        rows = rows.append_column("segment_fine", fine["segment_fine"])
        return rows.append_column("part", pa.array([part] * len(rows), pa.string()))


@dataclass(frozen=True)
class ClassifyTokens:
    """CPU task: write the masks of classes of a part's images by a layer on tokens.

    `layer` is its file. `names` count where an image has segments: they are evidence beside the layer, and single
    segments have the class that a person gave them, whatever the layer says.
    """

    layer: bytes
    classes: tuple[NamedClass, ...]
    names: Names
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Return the columns of the table, and those of faults where the block has them."""
        from datus2_ray.core.refine.token_layer import from_bytes

        layer = from_bytes(self.layer)
        rows = block.select(GRID).to_pylist()
        segments = [list_arrays(block[name]) for name in SEGMENTS if name in block.column_names]
        images = zip(rows, list_arrays(block["tokens"]), *segments, strict=True)
        found: list[Classified | None] = []
        for row, tokens, *of_image in self.heartbeat.through(list(images)):
            # An image that could not be decoded has no tokens.
            found.append(None if tokens is None else self._classify(layer, row, *map(np.asarray, (tokens, *of_image))))
        kept = {name: block[name] for name in ("part", *FAULT_COLUMNS) if name in block.column_names}
        columns = {
            **{name: block[name] for name in ("image_id", "height", "width")},
            "mask": pa.array([one and encode_labels(one.mask) for one in found], pa.binary()),
            "segment_classes": list_column([one.segment_classes if one else None for one in found], pa.int32()),
            "confidence": pa.array([one and _grey(one.confidence) for one in found], pa.binary()),
            "segment_confidence": list_column([one.segment_confidence if one else None for one in found], pa.float32()),
        }
        return pa.table({**columns, **kept})

    def _classify(
        self, layer: TokenLayer, row: Mapping[str, Any], tokens: np.ndarray, *segments: np.ndarray
    ) -> Classified:
        from datus2_ray.core.names.classify import classify_pixels, classify_segments

        grid = row["grid_height"], row["grid_width"]
        of_image = layer.of_patches(tokens, *grid), label_table(self.classes), row["height"], row["width"]
        if not segments:
            return classify_pixels(*of_image)
        patch_map, fine = segments
        named, given = self.names.of_segments(row["image_id"], fine), self.names.segments.get(row["image_id"], {})
        return classify_segments(*of_image, patch_map.reshape(grid), named, given)


def _grey(shares: np.ndarray) -> bytes:
    """Encode shares in [0, 1] as an 8-bit PNG."""
    return encode_labels((255 * shares).round().astype(np.uint8))


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    taught = run.commit(Taught)
    file, names = storage.read_bytes(taught.path(taught.facts.model)), run.naming.names
    classify = Operator(ClassifyTokens(file, taught.facts.classes, names, heartbeat))
    if (discovered := run.find(Discovered)) is not None:
        return [Operator(ReadSegments(discovered.uri, run.commit(Labelled).uri)), classify]

    embed = (run.backbone, run.config.discover, placement.device, heartbeat, False, True, large_windows(run))
    read = Operator(image_reader(run, heartbeat))
    return [read, Operator(EMBED_IMAGES, placement.pools["embed"], embed), Operator(drop_pixels), classify]


def _decides(run: Run, device: Device) -> dict[str, Any]:
    from datus2_ray.core.names.classify import EVIDENCE  # imports torch, which takes seconds

    return {"evidence": EVIDENCE} if run.find(Discovered) else segmentation_decides(run, device)


def _parts(run: Run) -> dict[str, int]:
    labelled = run.find(Labelled)
    return labelled.parts if labelled else run.commit(Ingested).parts


def _uses(prospect: Prospect) -> list[Use]:
    tasks = [part_tasks(prospect, IMAGE_BYTES)]
    return [*tasks, model_actors(prospect, "embed")] if prospect.has_layer else tasks


TAUGHT = Stage(
    facts=TaughtMasks,
    title="Write the masks of classes by the layer that was taught, and how certain it is",
    writes={
        "part-*.parquet": "per image: mask of class ids as PNG, confidence per patch; per segment: class, confidence"
    },
    version=1,
    adds=True,
    reads=(Ingested, Taught),
    may_read=(Discovered, Labelled),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=PerPart(
        operators=_operators, facts=lambda run, placement: TaughtMasks(run.facts(Taught).classes), parts=_parts
    ),
)
