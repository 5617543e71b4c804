"""Crops are described in batches across images, with no more of them held than a batch and an image need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.describe.crops import CROP_SIZE, crops
from datus2_ray.core.describe.tokens import l2_normalise
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.operators.read_images import pixels_of
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement
from datus2_ray.stages.discover.describe import rebatch
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store.columns import list_arrays


@given(counts=st.lists(st.integers(0, 9), max_size=12), size=st.integers(1, 7))
def test_batches_are_full_and_never_drawn_ahead(counts: list[int], size: int) -> None:
    rows = torch.arange(sum(counts))
    drawn, given_out = 0, 0

    def images() -> Iterator[torch.Tensor]:
        nonlocal drawn
        for image in rows.split(counts) if counts else ():
            # Held now: less than a batch; then that, and this image's.
            assert drawn - given_out < size
            drawn += len(image)
            yield image

    batches = []
    for batch in rebatch(images(), size):
        given_out += len(batch)
        batches.append(batch)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert torch.equal(torch.cat([torch.empty(0, dtype=torch.long), *batches]), rows)


def run_operators(run: Run) -> tuple[list[Operator], pa.Table]:
    """Return the operators of a run, and the first part as it comes to the one that describes crops."""
    run, pool = execute_stage(run, INGEST), Pool(1, 1, "cpu")
    placement = Placement("", "cpu", {"embed": pool, "describe": pool})
    assert isinstance(DISCOVER.work, PerPart)
    operators = list(DISCOVER.work.operators(run, placement, Unheard()))
    block = pa.table({"part": ["part-000000.parquet"]})
    for operator in operators[:3]:
        block = operator.build()(block)
    return operators, block


def test_descriptors_are_those_of_all_crops_at_once(scenes: Path, open_here: Callable[..., Run]) -> None:
    operators, block = run_operators(open_here(scenes / "images", "discover.crop_batch_size=5", limit=4, clusters=2))
    described = operators[3].build()(block)
    cut = [
        crops(torch.tensor(image), torch.from_numpy(np.array(patch_map)).reshape(14, 14), np.asarray(boxes))
        for image, patch_map, boxes in zip(
            pixels_of(block)[0], list_arrays(block["patch_map"]), list_arrays(block["boxes"]), strict=True
        )
    ]
    vit, tap = load_backbone("untrained:vit_tiny_patch16_224", input_size=CROP_SIZE), Tap("cls")
    expected = l2_normalise(
        np.concatenate([vit.extract(batch, [tap])[tap].numpy() for batch in torch.cat(cut).split(5)])
    )
    found = list_arrays(described["descriptors"])
    assert [len(rows) for rows in found] == [len(crop) for crop in cut]
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_images_without_a_segment_have_no_descriptors(scenes: Path, open_here: Callable[..., Run]) -> None:
    operators, block = run_operators(open_here(scenes / "images", "discover.tau=10000", limit=2, clusters=2))
    assert operators[3].build()(block)["descriptors"].to_pylist() == [[], []]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the number of threads, which the operators set for their process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
