"""The refinement: who trains on what, that the same is learned twice, and that what is interrupted goes on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.train
import ray.train.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datus2_ray.config import load
from datus2_ray.config.refine import RefineConfig
from datus2_ray.core.images.labels import encode_labels
from datus2_ray.core.refine import token_layer
from datus2_ray.core.refine.file import from_bytes
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec, to_bytes
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.progress import Progress
from datus2_ray.engine.run import Run
from datus2_ray.engine.training.job import Job
from datus2_ray.engine.training.run import explain, run_training
from datus2_ray.engine.training.shares import split_images
from datus2_ray.engine.training_workers import PAIRS_MEMORY
from datus2_ray.errors import DatusError, StorageError, UsageError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.refine import data, worker
from datus2_ray.stages.refine.data import Pair, Pairs, ReadPairs, read_pairs, shuffled, training_batches
from datus2_ray.stages.refine.refine import REFINE, plan_training, train
from datus2_ray.stages.refine.start import write_start
from datus2_ray.stages.refine.training import MODEL, Training
from datus2_ray.store import folders, parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Ingested, Labelled, LayerFitted, Refined
from datus2_ray.store.run_folder import part_name
from tests.stages.conftest import train_here, training_processes, wait_for

SMALL = ("refine.size=64", "refine.batch_size=4", "refine.steps=6")

#: Another loss, and an average of weights with the momentum of a short training.
AVERAGED = ("refine.loss=generalised", "refine.teacher=0.5")


def make_images(count: int, side: int = 72) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Draw sky over ground with a box in it, and the labels of that, a twentieth of them noise."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        labels = np.zeros((side, side), np.uint8)
        labels[int(rng.integers(side // 4, 3 * side // 4)) :] = 1
        top, left = rng.integers(0, side // 2, 2)
        labels[top : top + side // 3, left : left + side // 3] = 2
        colours = np.array([[60, 90, 220], [90, 200, 60], [220, 60, 60]], np.float64)
        pixels = np.clip(colours[labels] + rng.normal(0, 25, (side, side, 3)), 0, 255).astype(np.uint8)
        labels[rng.random((side, side)) < 0.05] = 255
        made.append((f"image-{number:03d}", pixels, labels))
    return made


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_run(run: Run, count: int, part_rows: int = 8) -> Run:
    """Write the images and initial masks of a run, as if the stages before had been there."""
    made = make_images(count)
    commits = [
        Commit(run.folder.path("made", facts.stage), f"made {facts.stage}", count, count, 0, {}, facts)
        for facts in (Ingested("folder"), Labelled())
    ]
    for index, start in enumerate(range(0, count, part_rows)):
        rows = made[start : start + part_rows]
        side = len(rows[0][2])
        images = [
            {"image_id": i, "image": png(pixels), "height": side, "width": side, "mask": None} for i, pixels, _ in rows
        ]
        masks = [
            {"image_id": i, "mask": encode_labels(labels), "segment_clusters": [], "segment_distances": []}
            for i, _, labels in rows
        ]
        tables = ((images, schemas.IMAGES), (masks, schemas.INITIAL_MASKS))
        for commit, (values, schema) in zip(commits, tables, strict=True):
            commit.parts[part_name(index)] = len(rows)
            parquet.write_table(commit.path(part_name(index)), pa.Table.from_pylist(values, schema))
    for commit in commits:
        run = run.with_commit(commit)
    return run


def with_layer(run: Run, count: int) -> Run:
    """Add tokens, which are the colours of 9 x 9 patches, and a layer that tells the three colours apart."""
    masks = run.commit(Labelled)
    tokens = Commit(run.folder.path("made", "discover"), "made tokens", count, count, 0, masks.parts, Discovered())
    made = {image_id: pixels for image_id, pixels, _ in make_images(count)}
    for part in masks.parts:
        ids = parquet.read_table(masks.path(part), ["image_id"])["image_id"]
        means = [made[i.as_py()].reshape(9, 8, 9, 8, 3).mean((1, 3)).reshape(81, 3) for i in ids]
        columns = {
            "image_id": ids,
            "grid_height": pa.array([9] * len(ids), pa.int32()),
            "grid_width": pa.array([9] * len(ids), pa.int32()),
            "tokens": list_column(means, pa.list_(pa.float16(), 3)),
        }
        parquet.write_table(tokens.path(part), pa.table(columns))
    layer = TokenLayer(TokenLayerSpec(3, 3, {}))
    layer.mean.fill_(120)
    layer.deviation.fill_(60)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3)[[2, 1, 0]])
    facts = LayerFitted(
        clusters=3, dim=3, backbone="b", images=count, share=1.0, tokens=81 * count, workers=1, steps=1,
        agreements=(1.0,), loss=0.1, model="model.safetensors",
    )  # fmt: skip
    fitted = Commit(run.folder.path("made", "em"), "made layer", 1, 1, 0, {}, facts)
    storage.write_bytes(fitted.path(facts.model), to_bytes(layer))
    return run.with_commit(tokens).with_commit(fitted)


@pytest.fixture
def made_run(open_run: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    def made_run(count: int, *assignments: str, name: str = "run") -> Run:
        return write_run(open_run(tmp_path / "in", *SMALL, *assignments, name=name, clusters=3), count)

    return made_run


def refine(run: Run) -> Commit[Refined]:
    return execute_stage(run, REFINE).commit(Refined)


def plan(run: Run, workers: int) -> Training:
    settings = run.config.refine.model_copy(update={"workers": workers})
    run = replace(run, config=run.config.model_copy(update={"refine": settings}))
    start = run.folder.path("start.safetensors")
    write_start(start, run.config, 3, "cpu")
    return replace(plan_training(run, "cpu", start), threads=1)


def pairs_in(parts: Sequence[str], read: ReadPairs) -> list[Pair]:
    return [pair for part in read_pairs(parts, read) for pair in part]


# Who trains on what


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 3), st.data())
def test_every_image_is_in_one_share_and_the_shares_are_of_equal_size(count, workers, seed, data):
    held_out = data.draw(st.integers(1, count))
    ids = [f"{number}/a" for number in range(count)]
    split = split_images(ids, seed, workers, held_out)
    assert split == split_images(ids[::-1], seed, workers, held_out)
    shares = Counter(split.share(image_id) for image_id in ids)
    assert set(shares) <= set(range(2 * workers))
    train = [shares[rank] for rank in range(workers)]
    held = [shares[workers + rank] for rank in range(workers)]
    assert sum(held) == held_out
    assert max(train) - min(train) <= 1
    assert max(held) - min(held) <= 1


def test_another_seed_deals_the_images_out_differently():
    ids = [str(number) for number in range(40)]
    first, second = (split_images(ids, seed, 2, 4) for seed in (0, 1))
    assert [first.share(i) for i in ids] != [second.share(i) for i in ids]


@given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 9))
def test_shuffling_loses_nothing_and_is_repeatable(count, buffer, seed):
    pairs = [(np.array(number), np.array(-number)) for number in range(count)]
    first, second = ([int(a) for a, _ in shuffled(iter(pairs), buffer, np.random.default_rng(seed))] for _ in range(2))
    assert first == second
    assert sorted(first) == list(range(count))


def test_epochs_follow_the_images_within_bounds(made_run):
    expected = {60: 9, 400: 40, 10: 2}  # a pass has 39 images, by fours; a tenth; a fifth
    for steps, epoch_steps in expected.items():
        assert plan(made_run(44, f"refine.steps={steps}", name=str(steps)), 1).epoch_steps == epoch_steps


def test_the_learning_rate_rises_and_falls():
    rates = [worker.learning_rate(RefineConfig(steps=100), step) for step in range(100)]
    assert rates[0] < rates[4]
    assert max(rates) == pytest.approx(1e-3, rel=0.05)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 3e-5


# What they read


def test_pairs_are_joined_by_id_and_resized_alike(made_run):
    run = made_run(8)
    uri = run.commit(Labelled).path(part_name(0))
    parquet.write_table(uri, parquet.read_table(uri).slice(1))  # the first image went into quarantine later
    ids = [f"image-{number:03d}" for number in range(1, 8)]
    split = split_images(ids, 0, 1, 2)
    folders = (ImagesTable(run.commit(Ingested).uri), run.commit(Labelled).uri)
    by_id = {i: (pixels, labels) for i, pixels, labels in make_images(8)}
    for share in (0, 1):
        read = ReadPairs(*folders, split, share, 36)
        block = read(pa.table({"part": [part_name(0)]}))
        wanted = [i for i in ids if split.share(i) == share]
        (row,) = block.to_pylist()
        for image_id, image, mask in zip(wanted, row["image"], row["mask"], strict=True):
            pixels, labels = by_id[image_id]
            expected = np.asarray(Image.fromarray(pixels).resize((36, 36), Image.Resampling.BICUBIC))
            assert image == expected.tobytes()
            assert mask == labels[1::2, 1::2].tobytes()


def test_the_masks_of_em_are_drawn_from_tokens(made_run):
    run = with_layer(made_run(8), 8)
    training = plan(run, 1)
    read = training.read(0)
    block = read(pa.table({"part": [part_name(0)]}))
    ((*pairs,),) = data.pairs_of(block, 64)
    by_id = {i: (pixels, labels) for i, pixels, labels in make_images(8)}
    wanted = [i for i in by_id if training.split.share(i) == 0]
    assert len(pairs) == len(wanted) == 7
    fitted = run.commit(LayerFitted)
    layer = token_layer.from_bytes(storage.read_bytes(fitted.path(fitted.facts.model)))
    for image_id, (_, mask) in zip(wanted, pairs, strict=True):
        pixels, truth = by_id[image_id]
        patches = pixels.reshape(9, 8, 9, 8, 3).mean((1, 3)).reshape(81, 3).astype(np.float16)
        np.testing.assert_array_equal(mask, predict_labels(layer.of_patches(patches, 9, 9), 64, 64))
        truth = np.asarray(Image.fromarray(truth).resize((64, 64), Image.Resampling.NEAREST))
        assert (mask == truth)[truth != 255].mean() > 0.85
    initial = plan(made_run(8, name="initial"), 1)
    assert initial.layer is None
    assert REFINE.identify(run, "cpu").fingerprint != REFINE.identify(made_run(8, name="other"), "cpu").fingerprint


def test_a_part_is_read_once_while_there_is_room(made_run, monkeypatch):
    training = plan(made_run(24), 1)
    asked = []
    read_parts = data.read_parts
    monkeypatch.setattr(data, "read_parts", lambda parts, read: asked.append(parts) or read_parts(parts, read))
    expected = [image.tobytes() for image, _ in pairs_in(training.parts, training.read(0))]
    assert len(expected) == 22
    assert len(training.parts) > 2
    pair = 4 * training.config.size**2  # bytes
    for room in (22 * pair, 22 * pair - 1, 0):
        pairs = Pairs(training.read(0), room)
        next(pairs.stream(training.parts))  # broken off: what was read of the first part is kept
        asked.clear()
        for _ in range(2):
            assert [image.tobytes() for image, _ in pairs.stream(training.parts)] == expected
        first = 1 if room else 0
        assert len(asked[0]) == len(training.parts) - first
        left = [part for parts in asked[1:] for part in parts]
        assert len(left) == {0: len(training.parts), 22 * pair: 0}.get(room, 1)
    backwards = Pairs(training.read(0))
    list(backwards.stream(training.parts[1:2]))
    turned = training.parts[::-1]
    wanted = [image.tobytes() for image, _ in pairs_in(turned, training.read(0))]
    assert [image.tobytes() for image, _ in backwards.stream(turned)] == wanted


def test_a_part_of_which_a_share_has_nothing_is_not_waited_for(made_run):
    training = plan(made_run(24), 1)
    held_out = training.read(1)  # two images: most parts have none
    expected = [image.tobytes() for image, _ in pairs_in(training.parts, held_out)]
    pairs = Pairs(held_out)
    for _ in range(2):
        assert [image.tobytes() for image, _ in pairs.stream(training.parts)] == expected
    assert len(expected) == 2


def test_wide_masks_stay_wide(made_run):
    run = made_run(2)
    wide = np.full((72, 72), 300, np.uint16)
    wide[0] = 65535
    masks = [
        {"image_id": f"image-{i:03d}", "mask": encode_labels(wide), "segment_clusters": [], "segment_distances": []}
        for i in range(2)
    ]
    table = pa.Table.from_pylist(masks, schemas.INITIAL_MASKS)
    parquet.write_table(run.commit(Labelled).path(part_name(0)), table)
    split = split_images([row["image_id"] for row in masks], 0, 1, 1)
    read = ReadPairs(ImagesTable(run.commit(Ingested).uri), run.commit(Labelled).uri, split, 0, 72)
    ((_, labels),) = pairs_in([part_name(0)], read)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, wide)


def test_batches_go_round_the_share_in_an_order_of_the_key_alone(made_run):
    training = plan(made_run(24), 1)

    def take(
        key: tuple[int, ...], count: int, parts: Iterator[str] | None = None, max_bytes: int = PAIRS_MEMORY
    ) -> list[bytes]:
        batches = training_batches(list(parts or training.parts), Pairs(training.read(0), max_bytes), 4, key)
        taken = [image.tobytes() for _ in range(count) for image in next(batches)[0]]
        batches.close()
        return taken

    share = 24 - 2  # two are held out
    first = take((0, 0, 0), 11)  # two passes: 44 images
    assert Counter(first[:share]) == Counter(first[share:])
    assert len(set(first)) == share
    assert first[:share] != first[share:]
    assert take((0, 0, 0), 11) == first
    assert take((0, 0, 1), 11) != first
    for max_bytes in (0, 5 * 4 * training.config.size**2):  # too little to keep them, at once or after a few
        assert take((0, 0, 0), 11, max_bytes=max_bytes) == first
    held_out = {image.tobytes() for image, _ in pairs_in(training.parts, training.read(1))}
    assert len(held_out) == 2
    assert not held_out & set(first)


# What they learn


@pytest.mark.parametrize(("settings", "last_done"), [((), 0), (AVERAGED, 1)])
def test_training_goes_on_from_a_checkpoint_as_if_never_stopped(
    made_run, kept_checkpoints, monkeypatch, settings, last_done
):
    training = plan(made_run(24, *settings), 1)
    folders = [kept_checkpoints("first")]
    history = train_here(worker.train, training)
    folders.append(kept_checkpoints("resumed"))
    last = folders[0] / f"epoch-{last_done:04d}"
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: ray.train.Checkpoint(str(last)))
    resumed = train_here(worker.train, training)

    assert history["step"] == [1, 2, 3, 4, 5, 6]
    assert history["fault"] is None
    np.testing.assert_equal(resumed, history)
    models = [(folder / "epoch-0002" / MODEL).read_bytes() for folder in folders]
    assert models[0] == models[1]
    assert not (folders[1] / "epoch-0000").exists()
    assert models[0] != (folders[0] / "epoch-0001" / MODEL).read_bytes()


def test_a_training_that_diverged_has_a_fault_and_no_checkpoint(made_run, kept_checkpoints):
    folder = kept_checkpoints("kept")
    history = train_here(worker.train, plan(made_run(24, "refine.learning_rate=1e37"), 1))
    assert history["fault"] == "refine: the loss is not a number any more; lower refine.learning_rate 1e+37"
    assert history["step"] == []
    assert not folder.exists()


def test_a_training_that_diverges_later_ends_with_the_checkpoints_before(made_run, kept_checkpoints, monkeypatch):
    # From the third of six steps on.
    monkeypatch.setattr(worker, "learning_rate", lambda config, step: 1e37 if step >= 2 else 1e-3)
    folder = kept_checkpoints("kept")
    history = train_here(worker.train, plan(made_run(24), 1))
    assert history["fault"] is None
    assert history["step"] == [1, 2]
    assert np.isfinite(history["held_out_loss"][-1])
    assert [path.name for path in folder.iterdir()] == ["epoch-0000"]


def test_the_held_out_loss_is_that_of_the_checkpoint(made_run, kept_checkpoints):
    from torch.nn import functional

    training = plan(made_run(24, "refine.steps=2"), 1)
    folder = kept_checkpoints("kept")
    history = train_here(worker.train, training)
    segmenter = from_bytes((folder / "epoch-0001" / MODEL).read_bytes()).eval()
    losses = []
    with torch.inference_mode():
        for image, labels in pairs_in(training.parts, training.read(1)):
            logits = segmenter(torch.from_numpy(image.copy())[None])[0]
            well = torch.from_numpy(labels != 255)
            target = torch.from_numpy(labels.astype(np.int64))[well]
            losses.append(functional.cross_entropy(logits[:, well].T, target, reduction="none"))
    assert history["held_out_loss"][-1] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)


def test_bfloat16_learns_nearly_the_same(made_run, kept_checkpoints):
    histories = []
    for dtype in ("float32", "bfloat16"):
        kept_checkpoints(dtype)
        histories.append(train_here(worker.train, plan(made_run(24, f"refine.dtype={dtype}", name=dtype), 1)))
    whole, half = (history["train_loss"] for history in histories)
    assert whole != half
    assert half == pytest.approx(whole, rel=0.05)


# The step


def test_too_few_images_are_not_refined_with_a_reason(made_run):
    _, left_out = execute(made_run(12), [REFINE])
    assert left_out == {"refine": "12 images with masks, under refine.min_images = 20"}


def test_a_size_that_the_stride_does_not_divide_is_refused():
    with pytest.raises(UsageError, match=r"size = 72 is no multiple of output_stride = 16: set refine\.size=80"):
        load({"source": "in", "out": "out"}, preset="paper", assignments=("refine.size=72",))


def test_a_training_that_cannot_start_ends_with_the_reason(made_run):
    run = made_run(24)
    impossible = ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1000})
    start = time.monotonic()
    job = Job("refine", train, plan(run, 1), 6, "give fewer workers", impossible, lowest=None)
    with pytest.raises(DatusError, match=r"no optimiser step for 5 s \(step 0 of 6\)"):
        run_training(job, run.folder.path("refine"), "name", 5, lambda step: None)
    assert time.monotonic() - start < 60


def test_a_fault_of_a_worker_is_told_in_one_line():
    failed = ray.train.v2.api.exceptions.WorkerGroupError
    foreign = failed("a\nlong\ntrace", {1: StorageError("cannot read x"), 0: OSError()})
    assert str(explain("refine", foreign)) == "cannot read x"  # the other worker's is but a consequence
    assert str(explain("refine", failed("a trace", {0: OSError()}))) == "refine: OSError: "
    controller = ray.train.v2.api.exceptions.ControllerError(ValueError("two\nlines"))
    assert str(explain("refine", controller)) == "refine: ValueError: lines"


@pytest.mark.slow
def test_two_workers_killed_and_interrupted_learn_the_same_as_two_left_alone(made_run, monkeypatch):
    """Everything at once, as each start of two workers costs half a minute on a small machine."""
    steps = ("refine.steps=20", "refine.workers=2", *AVERAGED)
    quiet = with_layer(made_run(48, *steps, name="quiet"), 48)
    commit = refine(quiet)
    assert commit.facts.workers == 2
    assert commit.facts.epochs == 5
    table = parquet.read_table(commit.path("history.parquet"))
    assert table["step"].to_pylist() == list(range(1, 21))
    losses = table["held_out_loss"].drop_null().to_pylist()
    assert commit.facts.best_loss == min(losses)
    assert commit.facts.best_epoch == losses.index(min(losses))
    assert (commit.facts.loss, commit.facts.targets) == ("generalised", "em")
    assert {file.path for file in folders.list_files(commit.uri)} == {
        "_BEGUN.json",
        "_COMMIT.json",
        "history.parquet",
        MODEL,
    }

    # First the user interrupts the command in the second epoch: everything ends, and the last checkpoint stays.
    disturbed = with_layer(made_run(48, *steps, name="disturbed"), 48)

    def interrupt(progress: Progress, done: int, *arguments: Any) -> None:
        progress.done += done
        if progress.done >= 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            refine(disturbed)
    wait_for(lambda: not training_processes())
    # Nothing keeps the CPUs of the workers.
    wait_for(lambda: all(group["state"] != "CREATED" for group in ray.util.placement_group_table().values()))
    (folder,) = Path(disturbed.folder.path("refine")).glob("*/training/2-workers")
    done_before = {checkpoint.name for checkpoint in folder.glob("epoch-*")}
    assert done_before

    # Then, in the second run of the same command, a worker dies as soon as there is a new checkpoint.
    result: list[Commit[Refined]] = []
    second = threading.Thread(target=lambda: result.append(refine(disturbed)))
    second.start()
    wait_for(lambda: {checkpoint.name for checkpoint in folder.glob("epoch-*")} - done_before != set())
    assert second.is_alive()
    workers = training_processes()
    workers[-1].kill()
    wait_for(lambda: {process.pid for process in training_processes()} - {process.pid for process in workers} != set())
    second.join()
    assert result[0].facts == commit.facts
    assert not folder.exists()
    for file in (MODEL, "history.parquet"):
        assert storage.read_bytes(result[0].path(file)) == storage.read_bytes(commit.path(file))
