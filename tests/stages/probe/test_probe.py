"""The stage of the linear probe: every image is scored by the layer of the half that it is not in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.refine.token_groups import GROUPS
from datus2_ray.core.score import probe
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.engine.training.shares import split_images
from datus2_ray.errors import DatusError
from datus2_ray.stages import PROBE, RUN
from datus2_ray.stages.probe import worker
from datus2_ray.stages.probe.worker import HALVES
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Ingested, Probed

CLASSES = 6


@pytest.fixture
def discovered(open_here: Callable[..., Run], scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run whose tokens are there, and let layers be fitted in a fifth of their steps."""
    recipe = replace(probe.RECIPE, steps=200)
    for module in (probe, worker):
        monkeypatch.setattr(module, "RECIPE", recipe)
    settings = ("discover.grid=14", "ingest.images_per_part=5")
    run = open_here(scenes, *settings, dataset="demo", preset="best", limit=16)
    for stage in RUN:
        if stage.name in ("ingest", "survey", "discover"):
            run = execute_stage(run, stage)
    return run


def probed(run: Run) -> Probed:
    return execute_stage(run, PROBE).facts(Probed)


def change_truth(run: Run, change: Callable[[str, np.ndarray], np.ndarray | None]) -> None:
    """Replace the ground truth that ingest wrote."""
    ingested = run.commit(Ingested)
    for part in ingested.parts:
        table = parquet.read_table(ingested.path(part))
        masks = []
        for row in table.select(["image_id", "mask"]).to_pylist():
            mask = change(row["image_id"], decode_labels(row["mask"]))
            masks.append(None if mask is None else encode_labels(mask))
        column = table.schema.get_field_index("mask")
        table = table.set_column(column, table.schema.field("mask"), pa.array(masks, table.schema.field("mask").type))
        parquet.write_table(ingested.path(part), table)


def image_ids(run: Run) -> list[str]:
    ingested = run.commit(Ingested)
    tables = [parquet.read_table(ingested.path(part), ["image_id"]) for part in sorted(ingested.parts)]
    return [image_id for table in tables for image_id in table["image_id"].to_pylist()]


def test_an_image_is_scored_by_what_the_other_half_taught(discovered: Run) -> None:
    found = probed(discovered)
    storage.remove(discovered.folder.path("probe"))
    assert probed(discovered) == found  # the same seed gives the same scores
    assert found.images == 16
    assert found.pixel_accuracy > 0.7
    assert found.miou < found.pixel_accuracy
    split = split_images(image_ids(discovered), discovered.config.seed, GROUPS, 0)

    def shift_half(image_id: str, mask: np.ndarray) -> np.ndarray:
        shifted: np.ndarray = (mask + 1) % CLASSES if split.share(image_id) in HALVES[1] else mask
        return shifted.astype(np.uint8)

    change_truth(discovered, shift_half)
    storage.remove(discovered.folder.path("probe"))
    assert probed(discovered).pixel_accuracy < 0.15


def test_an_image_without_ground_truth_is_neither_learned_from_nor_scored(discovered: Run) -> None:
    left_out = set(image_ids(discovered)[::3])
    change_truth(discovered, lambda image_id, mask: None if image_id in left_out else mask)
    assert probed(discovered).images == 16 - len(left_out)


def test_a_half_without_a_class_is_refused(discovered: Run) -> None:
    change_truth(discovered, lambda image_id, mask: np.full_like(mask, 255))
    with pytest.raises(DatusError, match="no image of one half has a class"):
        probed(discovered)
