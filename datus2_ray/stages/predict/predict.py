"""Predict: the refined masks, by the layer of EM or by DeepLabV3.

The layer reads tokens, which lie in the table of discover; those of images that the run has not seen come from the
backbone, in an actor pool, as the images' logits come from DeepLabV3. All else are CPU tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.operators.decides import EMBED_IMAGES, image_reader, large_windows, segmentation_decides
from datus2_ray.engine.operators.encode import encode_masks
from datus2_ray.engine.operators.read_images import PIXELS, ReadImages
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Model, Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.facts import Discovered, Ingested, Labelled, LayerFitted, Predicted, Refined

#: Labels every pixel by the network that was trained.
SEGMENT_IMAGES = Model("datus2_ray.stages.predict.segment_images", "SegmentImages")

#: Bytes of an image in a task that labels by tokens: the tokens of a large backbone, and the labels of a photograph.
IMAGE_BYTES = 2**22


@dataclass(frozen=True)
class ReadTokens:
    """CPU task: read the tokens of a part's images, of those that have an initial mask; both are URIs of tables."""

    tokens: str
    masks: str

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        part = block["part"][0].as_py()
        columns = ["image_id", "height", "width", "grid_height", "grid_width", "tokens"]
        rows = parquet.read_table(storage.join(self.tokens, part), columns)
        kept = parquet.read_table(storage.join(self.masks, part), ["image_id"])
        rows = rows.filter(pc.is_in(rows["image_id"], value_set=kept["image_id"].combine_chunks()))
        return rows.append_column("part", pa.array([part] * len(rows), pa.string()))


@dataclass(frozen=True)
class LabelTokens:
    """CPU task: the most likely cluster of every pixel by a layer on tokens; `layer` is its file."""

    layer: bytes
    heartbeat: Heartbeat

    def __call__(self, block: pa.Table) -> pa.Table:
        """Replace ``tokens`` and grid by ``labels``, of every pixel at the image's own size, as raw bytes."""
        from datus2_ray.core.refine.prediction import predict_labels
        from datus2_ray.core.refine.token_layer import from_bytes

        layer = from_bytes(self.layer)
        labels: list[bytes | None] = []
        rows = block.select(["height", "width", "grid_height", "grid_width"]).to_pylist()
        for row, tokens in self.heartbeat.through(list(zip(rows, list_arrays(block["tokens"]), strict=True))):
            if tokens is None:  # an image that could not be decoded
                labels.append(None)
                continue
            logits = layer.of_patches(tokens, row["grid_height"], row["grid_width"])
            labels.append(predict_labels(logits, row["height"], row["width"]).tobytes())
        block = block.drop_columns(["tokens", "grid_height", "grid_width"])
        return block.append_column("labels", pa.array(labels, pa.large_binary()))


def drop_pixels(block: pa.Table) -> pa.Table:
    """CPU task: drop the pixels, and the graph that was not built."""
    return block.drop_columns([*PIXELS, "graph"])


@dataclass(frozen=True)
class ReadChosen:
    """CPU task: read the images of a part, and only those that `table`, the URI of another table, holds."""

    read: ReadImages
    table: str | None

    def __call__(self, block: pa.Table) -> pa.Table:
        """Read one part."""
        rows = self.read(block)
        if self.table is None:
            return rows
        kept = parquet.read_table(storage.join(self.table, rows["part"][0].as_py()), ["image_id"])
        return rows.filter(pc.is_in(rows["image_id"], value_set=kept["image_id"].combine_chunks()))


def _parts(run: Run) -> Mapping[str, int]:
    """Return the parts of the initial masks, or of all images where they get none."""
    initial = run.find(Labelled)
    return initial.parts if initial else run.commit(Ingested).parts


def _decides(run: Run, device: Device) -> dict[str, Any]:
    if (refined := run.find(Refined)) is not None:
        return {"size": refined.facts.size, **run.config.refine.identity("predict")}
    return {} if run.find(Discovered) else segmentation_decides(run, device)


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    if run.find(Refined) is None:
        return [*_tokens(run, placement, heartbeat), Operator(encode_masks)]

    refined, initial = run.commit(Refined), run.find(Labelled)
    read = ReadImages(ImagesTable.of(run.commit(Ingested)), refined.facts.size, heartbeat)
    segmenter = refined.path(refined.facts.checkpoint)
    arguments = (segmenter, placement.device, heartbeat, run.config.refine.mirror)
    return [
        Operator(ReadChosen(read, initial.uri if initial else None)),
        Operator(SEGMENT_IMAGES, placement.pools["segment"], arguments),
        Operator(encode_masks),
    ]


def _tokens(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    """Return the operators that read tokens, or compute them, and label the images by them."""
    fitted = run.commit(LayerFitted)
    label = Operator(LabelTokens(storage.read_bytes(fitted.path(fitted.facts.model)), heartbeat))
    if (discovered := run.find(Discovered)) is not None:
        return [Operator(ReadTokens(discovered.uri, run.commit(Labelled).uri)), label]

    embed = (run.backbone, run.config.discover, placement.device, heartbeat, False, True, large_windows(run))
    read = Operator(image_reader(run, heartbeat))
    return [read, Operator(EMBED_IMAGES, placement.pools["embed"], embed), Operator(drop_pixels), label]


def _uses(prospect: Prospect) -> list[Use]:
    if prospect.config.refine.network == "linear":
        tasks = [part_tasks(prospect, IMAGE_BYTES)]
        return [*tasks, model_actors(prospect, "embed")] if prospect.has_layer else tasks
    return [part_tasks(prospect, prospect.config.refine.size**2 * 3), model_actors(prospect, "segment")]


PREDICT = Stage(
    facts=Predicted,
    title="Write the refined masks: the most likely cluster of every pixel",
    writes={"part-*.parquet": "per image: mask as PNG"},
    version=3,
    reads=(Ingested,),
    may_read=(Discovered, Labelled),
    reads_either=(LayerFitted, Refined),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=PerPart(operators=_operators, facts=lambda run, placement: Predicted(), parts=_parts),
)
