"""Prediction: the masks of a plain loop, whatever the machinery; images that cannot be used are said, not lost."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datus2_ray.engine.context import RunContext
from PIL import Image

from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.refine.deeplab import SegmenterSpec, build_segmenter, predict_labels
from datus2_ray.core.refine.file import Segmenter, to_bytes
from datus2_ray.core.refine.token_layer import TokenSegmenter, TokenSegmenterSpec
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.operators.read_images import ReadImages
from datus2_ray.engine.pools import Pool
from datus2_ray.errors import UsageError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.stages.predict.predict import ReadChosen, encode_masks, predict, predict_images, segmenter_uri
from datus2_ray.stages.predict.segment_images import SegmentImages
from datus2_ray.store import schemas, storage
from datus2_ray.store.run_folder import Commit, part_name

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


def write_images(context: RunContext, broken: int | None = None) -> Commit:
    rows = []
    for number, image_id in enumerate(IDS):
        height, width = picture(number).shape[:2]
        image = b"no image" if number == broken else png(picture(number))
        rows.append({"image_id": image_id, "image": image, "height": height, "width": width, "mask": None})
    for part, some in ((part_name(0), rows[:9]), (part_name(1), rows[9:])):
        storage.write_table(context.folder.path("images", part), pa.Table.from_pylist(some, schemas.IMAGES))
    commit = Commit("made images", len(IDS), len(IDS), 0, PARTS, {})
    context.folder.finish("images", commit)
    return commit


def write_segmenter(context: RunContext, segmenter: Segmenter | None = None) -> Commit:
    kept = to_bytes(segmenter or build_segmenter(SPEC, seed=0))
    storage.write_bytes(context.folder.path("refine/model.safetensors"), kept)
    commit = Commit("made refine", 11, 11, 0, {}, {"checkpoint": "model.safetensors", "size": SPEC.size})
    context.folder.finish("refine", commit)
    return commit


def masks_of(context: RunContext) -> dict[str, bytes]:
    commit = context.folder.require("masks/refined")
    tables = [storage.read_table(context.folder.path("masks/refined", part)) for part in sorted(commit.parts)]
    assert all(table.schema.equals(schemas.MASKS) for table in tables)
    return {row["image_id"]: row["mask"] for table in tables for row in table.to_pylist()}


@pytest.fixture
def context(open_run: Callable[..., RunContext], tmp_path: Path) -> RunContext:
    return open_run(tmp_path / "in")


def run(context: RunContext, name: str = "seg") -> Commit:
    images, refinement = write_images(context), write_segmenter(context)
    uri = segmenter_uri(context.folder, refinement)
    return predict_images(context, uri, SPEC.size, images.parts, [images.fingerprint, name])


def naive(numbers: range) -> list[np.ndarray]:
    """Resize, forward eight at a time, upsample, argmax: a plain loop."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    segmenter = build_segmenter(SPEC, seed=0).eval()
    masks = []
    with torch.inference_mode():
        for start in range(0, len(numbers), 8):
            some = [picture(number) for number in numbers[start : start + 8]]
            resized = [np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in some]
            logits = segmenter(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2))
            masks += [predict_labels(one, *image.shape[:2]) for one, image in zip(logits, some, strict=True)]
    torch.set_num_threads(before)
    return masks


@pytest.mark.parametrize("actors", [1, 2])
def test_masks_are_bitwise_those_of_a_plain_loop_for_any_number_of_actors(context, monkeypatch, actors):
    monkeypatch.setattr(
        "datus2_ray.stages.predict.predict.plan_pool", lambda *planned, pools, parts: Pool(actors, actors, "cpu")
    )
    commit = run(context)
    assert commit.rows_out == 11
    masks = masks_of(context)
    assert list(masks) == IDS
    for image_id, expected in zip(IDS, [*naive(range(9)), *naive(range(9, 11))], strict=True):
        np.testing.assert_array_equal(decode_labels(masks[image_id]), expected)
    assert len(np.unique(decode_labels(masks[IDS[0]]))) > 1


def test_only_images_with_an_initial_mask_get_a_refined_one(context):
    images, refinement = write_images(context), write_segmenter(context)
    kept = {part_name(0): IDS[1:9], part_name(1): IDS[9:]}
    for part, ids in kept.items():
        rows = [{"image_id": i, "mask": b"", "segment_clusters": [], "segment_distances": []} for i in ids]
        storage.write_table(
            context.folder.path("masks/initial", part), pa.Table.from_pylist(rows, schemas.INITIAL_MASKS)
        )
    parts = {part: len(ids) for part, ids in kept.items()}
    context.folder.finish("masks/initial", Commit("made masks", 11, 10, 1, parts, {}))
    commit = predict(context, images, refinement)
    assert (commit.rows_in, commit.rows_out, commit.rows_quarantined) == (10, 10, 0)
    assert list(masks_of(context)) == IDS[1:]
    assert predict(context, images, refinement) == commit


def segment_here(context: RunContext, segmenter: Segmenter | None = None, mirror: bool = False) -> list[dict[str, Any]]:
    """Send the first part through the operators, in this process."""
    before = torch.get_num_threads()
    uri = segmenter_uri(context.folder, write_segmenter(context, segmenter))
    read = ReadChosen(ReadImages(ImagesTable(context.folder.path("images")), SPEC.size, Heartbeat()), None)
    actor = SegmentImages(uri, BACKBONE, "cpu", Heartbeat(), mirror)
    block = encode_masks(actor(read(pa.table({"part": [part_name(0)]}))))
    torch.set_num_threads(before)
    return block.to_pylist()


def test_a_layer_on_tokens_predicts_with_the_backbone_of_the_run(context):
    write_images(context)
    layer = TokenSegmenter(TokenSegmenterSpec(192, 5, 64), load_backbone(BACKBONE)).eval()
    torch.nn.init.normal_(layer.layer.weight, generator=torch.Generator().manual_seed(0))
    rows = segment_here(context, layer)
    for number, row in zip(range(8), rows, strict=False):
        image = picture(number)
        resized = torch.from_numpy(np.array(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)))
        with torch.inference_mode():
            expected = predict_labels(layer(resized[None].permute(0, 3, 1, 2))[0], *image.shape[:2])
        found = decode_labels(row["mask"])
        assert (found == expected).mean() > 0.999  # a batch rounds differently
        assert len(np.unique(found)) > 1


def test_mirrored_prediction_is_the_mean_of_both_views(context):
    write_images(context)
    rows = segment_here(context, mirror=True)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
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
    torch.set_num_threads(before)
    assert changed > 0


def test_a_new_image_that_cannot_be_read_carries_its_fault_to_the_end(context):
    write_images(context, broken=3)
    rows = segment_here(context)
    assert [row["fault_kind"] for row in rows] == [None] * 3 + ["unreadable"] + [None] * 5
    assert [row["mask"] is None for row in rows] == [row["fault_kind"] is not None for row in rows]
    assert {row["part"] for row in rows} == {part_name(0)}


def test_more_than_254_clusters_take_16_bits(context):
    write_images(context)
    labels = decode_labels(
        segment_here(context, build_segmenter(SegmenterSpec("resnet18", 16, 300, 64), seed=0))[0]["mask"]
    )
    assert labels.dtype == np.uint16
    assert labels.shape == picture(0).shape[:2]
    assert labels.max() < 300


def test_a_run_whose_refinement_was_skipped_has_no_segmenter(context):
    with pytest.raises(UsageError, match="was skipped: 12 images"):
        segmenter_uri(context.folder, Commit("f", 12, 12, 0, {}, {"skipped": "12 images"}))
