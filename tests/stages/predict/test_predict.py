"""Prediction: the masks of a plain loop, whatever the machinery; images that cannot be used are said, not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from datus2_ray.config import load
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.refine import token_layer
from datus2_ray.core.refine.deeplab import DeepLabV3Segmenter, SegmenterSpec, build_segmenter
from datus2_ray.core.refine.file import to_bytes
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.core.refine.token_layer import TokenLayer, TokenLayerSpec
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.pools import Pool
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import PerPart, Placement
from datus2_ray.stages.em.em import EM
from datus2_ray.stages.predict.predict import PREDICT
from datus2_ray.stages.refine.refine import REFINE
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Ingested, Labelled, LayerFitted, Predicted, Refined
from datus2_ray.store.run_folder import part_name

SPEC = SegmenterSpec(encoder="resnet18", output_stride=16, classes=5, size=64)
BACKBONE = "untrained:vit_tiny_patch16_224"
IDS = [f"image-{number:02d}" for number in range(11)]
PARTS = {part_name(0): 9, part_name(1): 2}


def picture(number: int) -> np.ndarray:
    side = 40 + 7 * number
    return np.random.default_rng(number).integers(0, 256, (side, side + 9, 3), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def with_images(run: Run, broken: int | None = None) -> Run:
    uri, rows = run.folder.result("ingest", "made images"), []
    for number, image_id in enumerate(IDS):
        height, width = picture(number).shape[:2]
        image = b"no image" if number == broken else png(picture(number))
        rows.append({"image_id": image_id, "image": image, "height": height, "width": width, "mask": None})
    for part, some in ((part_name(0), rows[:9]), (part_name(1), rows[9:])):
        parquet.write_table(storage.join(uri, part), pa.Table.from_pylist(some, schemas.IMAGES))
    return run.with_commit(Commit(uri, "made images", len(IDS), len(IDS), 0, PARTS, Ingested("folder")))


def with_segmenter(run: Run, segmenter: DeepLabV3Segmenter | None = None) -> Run:
    uri = run.folder.result("refine", "made segmenter")
    facts = Refined(
        loss="cross-entropy", size=SPEC.size, clusters=5, workers=1, batch_size=4, steps=1, epochs=1, best_epoch=0,
        best_step=1, best_loss=1.0, checkpoint="model.safetensors", targets="label", encoder="resnet18",
        encoder_start="random", supervised=False, output_stride=16,
    )  # fmt: skip
    storage.write_bytes(storage.join(uri, facts.checkpoint), to_bytes(segmenter or build_segmenter(SPEC, seed=0)))
    return run.with_commit(Commit(uri, "made segmenter", 11, 11, 0, {}, facts))


def masks_of(commit: Commit[Predicted]) -> dict[str, bytes]:
    tables = [parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]
    assert all(table.schema.equals(schemas.MASKS) for table in tables)
    return {row["image_id"]: row["mask"] for table in tables for row in table.to_pylist()}


@pytest.fixture
def run(open_here: Callable[..., Run], tmp_path: Path) -> Run:
    return with_segmenter(with_images(open_here(tmp_path / "in", clusters=5)))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread, as the actors do, and set the number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def naive(numbers: range) -> list[np.ndarray]:
    """Resize, forward eight at a time, upsample, argmax: a plain loop."""
    segmenter = build_segmenter(SPEC, seed=0).eval()
    masks = []
    with torch.inference_mode():
        for start in range(0, len(numbers), 8):
            some = [picture(number) for number in numbers[start : start + 8]]
            resized = [np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in some]
            logits = segmenter(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2))
            masks += [predict_labels(one, *image.shape[:2]) for one, image in zip(logits, some, strict=True)]
    return masks


def test_masks_are_bitwise_those_of_a_plain_loop(run: Run) -> None:
    commit = execute_stage(run, PREDICT).commit(Predicted)
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (11, 11, 0)
    masks = masks_of(commit)
    assert list(masks) == IDS
    for image_id, expected in zip(IDS, [*naive(range(9)), *naive(range(9, 11))], strict=True):
        np.testing.assert_array_equal(decode_labels(masks[image_id]), expected)
    assert len(np.unique(decode_labels(masks[IDS[0]]))) > 1


def test_only_images_with_an_initial_mask_get_a_refined_one(run: Run) -> None:
    uri, kept = run.folder.result("label", "made masks"), {part_name(0): IDS[1:9], part_name(1): IDS[9:]}
    for part, ids in kept.items():
        rows = [{"image_id": i, "mask": b"", "segment_clusters": [], "segment_distances": []} for i in ids]
        parquet.write_table(storage.join(uri, part), pa.Table.from_pylist(rows, schemas.INITIAL_MASKS))
    parts = {part: len(ids) for part, ids in kept.items()}
    run = run.with_commit(Commit(uri, "made masks", 11, 10, 1, parts, Labelled()))
    commit = execute_stage(run, PREDICT).commit(Predicted)
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (10, 10, 0)
    assert list(masks_of(commit)) == IDS[1:]
    assert execute_stage(run, PREDICT).commit(Predicted) == commit


def test_masks_of_two_devices_are_two_results(run: Run) -> None:
    assert PREDICT.identify(run, "cpu").fingerprint != PREDICT.identify(run, "cuda").fingerprint


def segment_here(run: Run, mirror: bool = False) -> list[dict[str, Any]]:
    """Send the first part through the operators."""
    refine = run.config.refine.model_copy(update={"mirror": mirror})
    run = replace(run, config=run.config.model_copy(update={"refine": refine}))
    return through(run)


def with_layer(run: Run) -> Run:
    """Take DeepLabV3 away, and label by a layer on the tokens of an untrained backbone."""
    layer = TokenLayer(TokenLayerSpec(192, 5, {}))
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    uri = run.folder.result("em", "made layer")
    facts = LayerFitted(
        clusters=5, dim=192, backbone="b", images=11, share=1.0, tokens=11, workers=1, steps=1, agreements=(1.0,),
        loss=0.1, model="model.safetensors",
    )  # fmt: skip
    storage.write_bytes(storage.join(uri, facts.model), token_layer.to_bytes(layer))
    settings = load({"source": run.config.source, "out": run.config.out}, assignments=("discover.input_size=64",))
    config = settings.model_copy(update={"backbone": BACKBONE})
    run = replace(run, config=config, commits={"ingest": run.commit(Ingested)})
    return run.with_commit(Commit(uri, "made layer", 1, 1, 0, {}, facts))


def layer_of(run: Run) -> TokenLayer:
    fitted = run.commit(LayerFitted)
    return token_layer.from_bytes(storage.read_bytes(fitted.path(fitted.facts.model)))


def through(run: Run, part: str = part_name(0)) -> list[dict[str, Any]]:
    """Send a part through the operators of the stage."""
    assert isinstance(PREDICT.work, PerPart)
    placement = Placement("", "cpu", {"segment": Pool(1, 1, "cpu"), "embed": Pool(1, 1, "cpu")})
    block = pa.table({"part": [part]})
    for operator in PREDICT.work.operators(run, placement, Unheard()):
        block = operator.build()(block)
    rows: list[dict[str, Any]] = block.to_pylist()
    return rows


def test_a_layer_labels_images_that_the_run_never_saw(run: Run) -> None:
    new = with_layer(with_images(run, broken=3))
    assert new.prospect.has_layer
    rows = through(new)
    assert [row["fault_kind"] for row in rows] == [None] * 3 + ["unreadable"] + [None] * 5
    layer, backbone = layer_of(new), load_backbone(BACKBONE)
    for number, row in enumerate(rows):
        if number == 3:
            assert row["mask"] is None
            continue
        image = picture(number)
        resized = torch.from_numpy(np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)))
        with torch.inference_mode():
            tokens = backbone.extract(resized[None], [Tap("token")])[Tap("token")][0]
            logits = layer(tokens.half()).T.reshape(5, 4, 4)
        found = decode_labels(row["mask"])
        np.testing.assert_array_equal(found, predict_labels(logits, *image.shape[:2]))
        assert len(np.unique(found)) > 1


def test_tokens_that_the_run_has_are_read_and_not_computed(run: Run) -> None:
    run = with_layer(run)
    tokens = np.random.default_rng(0).normal(size=(11, 6, 192)).astype(np.float16)
    discovered = Commit(run.folder.result("discover", "t"), "t", 11, 11, 0, PARTS, Discovered())
    labelled = Commit(run.folder.result("label", "l"), "l", 11, 10, 1, {**PARTS, part_name(0): 8}, Labelled())
    first = 0
    for part, count in PARTS.items():
        ids = IDS[first : first + count]
        columns = {
            "image_id": pa.array(ids),
            **{name: pa.array([20 + i for i in range(count)], pa.int32()) for name in ("height", "width")},
            "grid_height": pa.array([2] * count, pa.int32()),
            "grid_width": pa.array([3] * count, pa.int32()),
            "tokens": list_column(list(tokens[first : first + count]), pa.list_(pa.float16(), 192)),
        }
        parquet.write_table(discovered.path(part), pa.table(columns))
        kept = [image_id for image_id in ids if image_id != IDS[2]]  # it could not be read again
        rows = [{"image_id": i, "mask": b"", "segment_clusters": [], "segment_distances": []} for i in kept]
        parquet.write_table(labelled.path(part), pa.Table.from_pylist(rows, schemas.INITIAL_MASKS))
        first += count
    run = run.with_commit(discovered).with_commit(labelled)
    assert [use.runs for use in PREDICT.uses(run.prospect)] == ["tasks"]
    commit = execute_stage(run, PREDICT).commit(Predicted)
    assert (commit.rows_in, commit.rows_out) == (10, 10)
    masks, layer = masks_of(commit), layer_of(run)
    assert list(masks) == [image_id for image_id in IDS if image_id != IDS[2]]
    for number, image_id in enumerate(IDS[:9]):
        if image_id in masks:
            expected = predict_labels(layer.of_patches(tokens[number], 2, 3), 20 + number, 20 + number)
            np.testing.assert_array_equal(decode_labels(masks[image_id]), expected)


def test_mirrored_prediction_is_the_mean_of_both_views(run: Run) -> None:
    rows = segment_here(run, mirror=True)
    segmenter = build_segmenter(SPEC, seed=0).eval()
    changed = 0
    for number, row in zip(range(8), rows, strict=False):
        image = picture(number)
        resized = torch.from_numpy(np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)))
        with torch.inference_mode():
            views = [segmenter(view[None].permute(0, 3, 1, 2))[0] for view in (resized, resized.flip(1))]
        expected = predict_labels((views[0] + views[1].flip(2)) / 2, *image.shape[:2])
        found = decode_labels(row["mask"])
        assert (found == expected).mean() > 0.999  # a batch rounds differently
        changed += int((found != predict_labels(views[0], *image.shape[:2])).sum())
    assert changed > 0


def test_a_new_image_that_cannot_be_read_carries_its_fault_to_the_end(run: Run) -> None:
    rows = segment_here(with_images(run, broken=3))
    assert [row["fault_kind"] for row in rows] == [None] * 3 + ["unreadable"] + [None] * 5
    assert [row["mask"] is None for row in rows] == [row["fault_kind"] is not None for row in rows]
    assert {row["part"] for row in rows} == {part_name(0)}


def test_more_than_254_clusters_take_16_bits(run: Run) -> None:
    many = with_segmenter(run, build_segmenter(SegmenterSpec("resnet18", 16, 300, 64), seed=0))
    labels = decode_labels(segment_here(many)[0]["mask"])
    assert labels.dtype == np.uint16
    assert labels.shape == picture(0).shape[:2]
    assert labels.max() < 300


def test_a_run_whose_refinement_was_left_out_predicts_nothing(open_here: Callable[..., Run], tmp_path: Path) -> None:
    run = open_here(tmp_path / "in", clusters=5, no_refine=True)
    _, left_out = execute(run, (EM, REFINE, PREDICT))
    assert left_out["predict"] == left_out["refine"] == left_out["em"]
