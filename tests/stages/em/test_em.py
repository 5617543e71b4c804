"""The stage of EM: what it reads, what it writes, and that neither parts nor workers change a bit of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from datus2_ray.config.load import load
from datus2_ray.core.refine.em import Recipe
from datus2_ray.core.refine.token_groups import GROUPS
from datus2_ray.core.refine.token_layer import from_bytes
from datus2_ray.engine import training_workers
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.training.shares import hash_id, split_images
from datus2_ray.errors import UsageError
from datus2_ray.stages.em.em import EM
from datus2_ray.stages.em.tokens import SegmentTokens
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled, LayerFitted
from datus2_ray.store.run_folder import part_name
from tests.stages.conftest import training_processes, wait_for

DIM, CLASSES, IMAGES = 6, 3, 24
MEANS = 4 * np.random.default_rng(0).normal(size=(CLASSES, DIM))


def image(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make an image of 5 x 5 patches: segment of every patch, some of them noise, tokens, true and given classes."""
    rng = np.random.default_rng(number)
    count = int(rng.integers(2, 5)) if number else 0  # the first has nothing but noise
    patch_map = rng.integers(-1, count, 25) if count else np.full(25, -1)
    truth = rng.integers(0, CLASSES, count)
    tokens = MEANS[np.append(truth, 0)[patch_map]] + rng.normal(size=(25, DIM))
    tokens[patch_map < 0] = 1000.0  # would spoil mean and deviation
    given = np.where(rng.random(count) < 0.2, (truth + 1) % CLASSES, truth)
    return patch_map.astype(np.int16), tokens.astype(np.float16), truth, given.astype(np.int32)


def with_segments(run: Run, part_rows: int = 10) -> Run:
    """Write the tables that the stage reads, in the order of the ids."""
    commits = [
        Commit(run.folder.path("made", facts.stage), f"made {facts.stage}", IMAGES, IMAGES, 0, {}, facts)
        for facts in (Discovered(), Labelled())
    ]
    for index, first in enumerate(range(0, IMAGES, part_rows)):
        numbers = range(first, min(first + part_rows, IMAGES))
        maps, tokens, _, given = zip(*map(image, numbers), strict=True)
        ids = pa.array([f"i{number:02d}" for number in numbers])
        columns = {
            "patch_map": list_column(maps, pa.int16()),
            "tokens": list_column(tokens, pa.list_(pa.float16(), DIM)),
        }
        masks = {name: list_column(given, pa.int32()) for name in ("segment_clusters", "segment_fine")}
        for commit, table in zip(commits, (columns, masks), strict=True):
            commit.parts[part_name(index)] = len(numbers)
            parquet.write_table(commit.path(part_name(index)), pa.table({"image_id": ids, **table}))
    return run.with_commit(commits[0]).with_commit(commits[1])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datus2_ray.core.refine.em.Recipe", partial(Recipe, steps=40, batch=256))


@pytest.fixture
def run(quick: None, open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return with_segments(open_here(tmp_path / "in", preset="best", clusters=CLASSES))


def fitted(run: Run) -> Commit[LayerFitted]:
    return execute_stage(run, EM).commit(LayerFitted)


def files(commit: Commit[LayerFitted]) -> list[bytes]:
    return [storage.read_bytes(commit.path(name)) for name in ("model.safetensors", "history.parquet")]


def test_the_layer_is_fitted_to_the_tokens_of_segments(run: Run) -> None:
    commit = fitted(run)
    facts, layer = commit.facts, from_bytes(storage.read_bytes(commit.path("model.safetensors")))
    made = [image(number) for number in range(IMAGES)]
    of_segments = np.concatenate([tokens[patch_map >= 0] for patch_map, tokens, _, _ in made])
    truth = np.concatenate([classes[patch_map[patch_map >= 0]] for patch_map, _, classes, _ in made])
    assert (facts.images, facts.share, facts.tokens, facts.dim) == (IMAGES, 1.0, len(of_segments), DIM)
    np.testing.assert_allclose(layer.mean, of_segments.astype(float).mean(0), rtol=1e-5)
    with torch.inference_mode():
        found = layer(torch.from_numpy(of_segments)).argmax(1).numpy()
    assert (found == truth).mean() > 0.97
    given = np.concatenate([classes[patch_map[patch_map >= 0]] for patch_map, _, _, classes in made])
    assert (given == truth).mean() < 0.9
    assert facts.agreements[0] == pytest.approx((given == truth).mean(), abs=0.03)

    history = parquet.read_table(commit.path("history.parquet"))
    assert history.schema.equals(schemas.EM_HISTORY)
    assert history["step"].to_pylist() == list(range(1, facts.steps + 1))
    assert history["agreement"].drop_null().to_pylist() == list(facts.agreements)
    assert set(history["round"].to_pylist()) == set(range(1, len(facts.agreements) + 1))
    assert layer.spec.reads["backbone"] == facts.backbone
    assert execute_stage(run, EM).commit(LayerFitted) == commit


def test_neither_parts_nor_the_number_of_threads_change_a_bit(open_here: Callable[..., Run], run: Run) -> None:
    expected = files(fitted(run))
    other = with_segments(open_here(run.config.source, preset="best", name="other", clusters=CLASSES), part_rows=7)
    machines = replace(run.machines, nodes=(replace(run.machines.nodes[0], cpus=1),))
    assert files(fitted(other.on(machines))) == expected
    seed = other.config.model_copy(update={"seed": 1})
    assert files(fitted(replace(other, config=seed))) != expected


def test_of_more_images_than_memory_holds_a_sample_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files(fitted(run))
    monkeypatch.setattr(training_workers, "TOKEN_MEMORY", 2 * DIM * 25 * 9 + 1)
    commit = fitted(run)
    assert (commit.facts.images, commit.facts.share) == (9, 9 / IMAGES)
    assert files(commit) != whole
    chosen = sorted(range(IMAGES), key=lambda number: hash_id(0, f"i{number:02d}"))[:9]
    assert commit.facts.tokens == sum(int((image(number)[0] >= 0).sum()) for number in chosen)


def test_groups_are_the_same_whoever_reads_them(run: Run) -> None:
    discovered, labelled = run.commit(Discovered), run.commit(Labelled)
    ids = [f"i{number:02d}" for number in range(IMAGES)]
    split, parts = split_images(ids, 0, GROUPS, 0), tuple(sorted(labelled.parts))
    read = SegmentTokens(discovered.uri, labelled.uri, parts, split, 2**64, DIM).read
    whole = read(range(GROUPS), torch.device("cpu"), 2)
    assert list(whole) == list(range(GROUPS))
    for number, group in read((1, 5), torch.device("cpu"), 1).items():
        assert all(torch.equal(*pair) for pair in zip(vars(group).values(), vars(whole[number]).values(), strict=True))
    # In a group: images by their hashes, segments by their numbers, and a segment's tokens in raster order.
    numbers = sorted((n for n in range(IMAGES) if split.share(ids[n]) == 1), key=lambda n: hash_id(0, ids[n]))
    made = [image(number) for number in numbers]
    tokens = [tokens[patch_map == s] for patch_map, tokens, truth, _ in made for s in range(len(truth))]
    np.testing.assert_array_equal(whole[1].tokens, np.concatenate(tokens))
    assert whole[1].sizes.tolist() == [len(of_segment) for of_segment in tokens]
    assert whole[1].labels.tolist() == [int(c) for *_, given in made for c in given]


def test_why_it_is_left_out_is_said(open_here: Callable[..., Run], tmp_path: Path) -> None:
    def reason(*assignments: str, **flags: Any) -> str:
        run = with_segments(open_here(tmp_path / "in", *assignments, preset="best", clusters=3, **flags))
        return execute(run, [EM])[1]["em"]

    assert reason(no_refine=True) == "switched off (--no-refine)"
    assert reason("refine.em=false", "refine.network=deeplabv3") == "switched off (refine.em)"
    assert reason("refine.min_images=25") == "24 images with masks, under refine.min_images = 25"
    with pytest.raises(UsageError, match=r"network = linear is the layer that em fits: set refine\.em=true or"):
        load({"source": "in", "out": "out"}, assignments=["refine.em=false"])


@pytest.mark.slow
def test_two_workers_one_of_them_killed_fit_the_bits_of_one_alone(
    open_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rounds that take long enough to be disturbed, and do not end before.
    monkeypatch.setattr("datus2_ray.core.refine.em.Recipe", partial(Recipe, steps=400, rounds=2, agreement=2.0))
    alone = fitted(with_segments(open_run(tmp_path / "in", preset="best", name="alone", clusters=CLASSES)))
    assert (alone.facts.workers, alone.facts.steps) == (1, 800)
    steps: list[str] = []
    advance = Progress.advance

    def note(self: Progress, done: int, errors: int = 0, note: str = "") -> None:
        steps.append(note)
        advance(self, done, errors, note)

    monkeypatch.setattr(Progress, "advance", note)
    result: list[Commit[LayerFitted]] = []
    two = open_run(tmp_path / "in", "refine.workers=2", preset="best", name="two", clusters=CLASSES)
    thread = threading.Thread(target=lambda: result.append(fitted(with_segments(two))))
    thread.start()
    wait_for(lambda: any(text not in ("", "step 0") for text in steps))
    assert thread.is_alive()
    training_processes()[-1].kill()
    thread.join()
    assert result[0].facts == replace(alone.facts, workers=2)
    assert files(result[0]) == files(alone)
    assert not Path(result[0].path("training")).exists()
