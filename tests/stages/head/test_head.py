"""The stages of the head: what they read and write, and that neither parts nor workers change a bit of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from datus2_ray.core.head.network import from_bytes
from datus2_ray.core.head.recipes import Recipe
from datus2_ray.engine import training_workers
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.engine.training.shares import hash_id
from datus2_ray.errors import DatusError
from datus2_ray.stages.head.codes import CODES
from datus2_ray.stages.head.head import HEAD
from datus2_ray.stages.head.worker import TokenImages
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays, list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Encoded, HeadLearned
from datus2_ray.store.run_folder import part_name

DIM, IMAGES = 6, 24


def image(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Make an image of 5 x 5 patches: segment of every patch, some of them noise, and tokens."""
    rng = np.random.default_rng(number)
    count = int(rng.integers(2, 5)) if number else 0  # the first has nothing but noise
    patch_map = rng.permutation(np.append(np.arange(count), rng.integers(-1, max(count, 1), 25 - count)))
    patch_map = patch_map if count else np.full(25, -1)
    return patch_map.astype(np.int16), rng.normal(size=(25, DIM)).astype(np.float16)


def with_segments(run: Run, part_rows: int = 10, images: int = IMAGES) -> Run:
    """Write the table that the stages read, in the order of the ids."""
    parts: dict[str, int] = {}
    commit = Commit(run.folder.path("made"), "made", images, images, 0, parts, Discovered())
    for index, first in enumerate(range(0, images, part_rows)):
        numbers = range(first, min(first + part_rows, images))
        maps, tokens = zip(*map(image, numbers), strict=True)
        sizes = [np.bincount(patch_map[patch_map >= 0]) for patch_map in maps]
        fives = pa.array([5] * len(numbers), pa.int32())
        columns = {
            "image_id": pa.array([f"i{number:02d}" for number in numbers]),
            **dict.fromkeys(("height", "width", "grid_height", "grid_width"), fives),
            "patch_map": list_column(maps, pa.int16()),
            "sizes": list_column(sizes, pa.int32()),
            "tokens": list_column(tokens, pa.list_(pa.float16(), DIM)),
        }
        parts[part_name(index)] = len(numbers)
        parquet.write_table(commit.path(part_name(index)), pa.table(columns))
    return run.with_commit(commit)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datus2_ray.core.head.recipes.Recipe", partial(Recipe, steps=10, images=8, points=16))


@pytest.fixture
def run(quick: None, open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return with_segments(open_here(tmp_path / "in", "cluster.descriptors=head", preset="best", clusters=3))


def learned(run: Run) -> Commit[HeadLearned]:
    return execute_stage(run, HEAD).commit(HeadLearned)


def files(commit: Commit[HeadLearned]) -> list[bytes]:
    return [storage.read_bytes(commit.path(name)) for name in ("model.safetensors", "history.parquet")]


def test_the_head_is_learned_from_all_tokens(run: Run) -> None:
    commit = learned(run)
    facts, head = commit.facts, from_bytes(storage.read_bytes(commit.path("model.safetensors")))
    assert (facts.images, facts.share, facts.tokens, facts.dim, facts.codes) == (IMAGES, 1.0, 25 * IMAGES, DIM, 64)
    tokens = np.concatenate([image(number)[1] for number in range(IMAGES)])
    np.testing.assert_allclose(head.mean, tokens.astype(float).mean(0), rtol=1e-4, atol=1e-6)
    assert head.spec.reads["backbone"] == facts.backbone
    history = parquet.read_table(commit.path("history.parquet"))
    assert history.schema.equals(schemas.HEAD_HISTORY)
    assert history["step"].to_pylist() == list(range(1, facts.steps + 1))
    assert learned(run) == commit


def test_segments_are_described_by_the_mean_of_their_codes(run: Run) -> None:
    run = execute_stage(execute_stage(run, HEAD), CODES)
    commit = run.commit(Encoded)
    assert run.described == commit
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (IMAGES, IMAGES, 0)
    head = from_bytes(storage.read_bytes(run.commit(HeadLearned).path("model.safetensors")))
    tables = [parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]
    assert all(table.schema.equals(schemas.codes(64)) for table in tables)
    found = list_arrays(pa.concat_tables(tables)["descriptors"])
    assert len(found[0]) == 0
    for number in range(1, IMAGES):
        patch_map, tokens = image(number)
        codes = head.encode(tokens)
        means = np.stack([codes[patch_map == segment].mean(0) for segment in range(patch_map.max() + 1)])
        np.testing.assert_allclose(found[number], means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


def test_neither_parts_nor_the_number_of_threads_change_a_bit(open_here: Callable[..., Run], run: Run) -> None:
    expected = files(learned(run))
    again = open_here(run.config.source, "cluster.descriptors=head", preset="best", name="other", clusters=3)
    other = with_segments(again, part_rows=7)
    machines = replace(run.machines, nodes=(replace(run.machines.nodes[0], cpus=1),))
    assert files(learned(other.on(machines))) == expected
    assert files(learned(replace(other, config=other.config.model_copy(update={"seed": 1})))) != expected


def test_of_more_images_than_memory_holds_a_sample_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files(learned(run))
    monkeypatch.setattr(training_workers, "TOKEN_MEMORY", 2 * DIM * 25 * 9 + 1)
    commit = learned(run)
    assert (commit.facts.images, commit.facts.share, commit.facts.tokens) == (9, 9 / IMAGES, 9 * 25)
    assert files(commit) != whole


def test_every_image_is_read_by_one_worker(run: Run) -> None:
    commit = run.commit(Discovered)
    ids = tuple(sorted((f"i{number:02d}" for number in range(IMAGES)), key=lambda image_id: hash_id(0, image_id)))[:20]
    images = TokenImages(commit.uri, tuple(sorted(commit.parts)), ids)
    read = [images.read(rank, 3, torch.device("cpu"), 2) for rank in range(3)]
    assert sorted(number for of_worker in read for number in of_worker) == list(range(20))
    for of_worker in read:
        for number, tokens in of_worker.items():
            np.testing.assert_array_equal(tokens, image(int(ids[number][1:]))[1])


def test_it_is_left_out_where_tokens_describe_and_needs_two_images(
    quick: None, open_here: Callable[..., Run], tmp_path: Path
) -> None:
    run = with_segments(open_here(tmp_path / "in", preset="best", clusters=3))
    left, reasons = execute(run, [HEAD, CODES])
    assert reasons == dict.fromkeys(("head", "codes"), "segments are described by tokens (cluster.descriptors)")
    assert left.described == run.commit(Discovered)
    one = open_here(tmp_path / "in", "cluster.descriptors=head", preset="best", clusters=3, name="one")
    with pytest.raises(DatusError, match="learned from pairs of images, and there is one"):
        learned(with_segments(one, images=1))


def test_two_workers_learn_the_bits_of_one_alone(run: Run, open_here: Callable[..., Run]) -> None:
    settings = ("cluster.descriptors=head", "refine.workers=2")
    other = with_segments(open_here(run.config.source, *settings, preset="best", name="two", clusters=3))
    alone, two = learned(run), learned(other)
    assert two.facts == replace(alone.facts, workers=2)
    assert files(two) == files(alone)
    assert not Path(two.path("training")).exists()
