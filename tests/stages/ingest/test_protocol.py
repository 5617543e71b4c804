"""STEGO's protocol in a run: which pixels are seen and scored, and what vectors of mirror images become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datus2_ray.commands.plan import plan_run
from datus2_ray.commands.predict import _config
from datus2_ray.commands.summary import collect_metrics
from datus2_ray.core.backbone.taps import Tap
from datus2_ray.core.backbone.vit import load_backbone
from datus2_ray.core.images.label_map import read_label_map
from datus2_ray.core.views.crop import crop_image, crop_labels
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import UsageError
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.list_source import list_for_shards
from datus2_ray.stages import RUN
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.evaluate.evaluate import EVALUATE
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.stages.ingest.to_shards import SHARDS
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.facts import Discovered, Evaluated, Ingested, Labelled, Predicted, Sharded
from tests.conftest import make_run

BACKBONE = "untrained:vit_tiny_patch16_224"
SIZES = {"a": (480, 600), "b": (700, 330), "c": (321, 321)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write three labelled images of other shapes, of noise."""
    for kind in ("images", "masks"):
        (tmp_path / "in" / kind).mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        rng = np.random.default_rng(height)
        coarse = rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(tmp_path / "in" / "images" / f"{name}.png")
        ids = (np.arange(width) * 4 // width)[None] + np.zeros((height, 1), int)
        Image.fromarray(ids.astype(np.uint8)).save(tmp_path / "in" / "masks" / f"{name}.png")
    return tmp_path / "in"


def pixels_of(folder: Path, name: str) -> np.ndarray:
    return crop_image(np.array(Image.open(folder / "images" / f"{name}.png")), 320)


def test_images_and_ground_truth_are_cut_wherever_they_come_from(folder: Path, open_here: Callable[..., Run]) -> None:
    packing = open_here(folder, name="shards", clusters=4)
    packed = execute_stage(packing.configured(packing.config, list_for_shards(packing.config)), SHARDS).commit(Sharded)
    for source in (folder, Path(packed.uri)):
        run = open_here(source, name=f"run-{source.name}", clusters=4, protocol="stego")
        ingested = execute_stage(run, INGEST).commit(Ingested)
        table = ImagesTable.of(ingested)
        columns = ["image_id", "image", "mask", "height", "width"]
        rows = [row for part in ingested.parts for row in table.read(part, columns).to_pylist()]
        assert len(rows) == 3
        for row, name in zip(rows, SIZES, strict=True):
            assert row["image_id"].endswith(name)
            assert (row["height"], row["width"]) == (320, 320)
            truth = np.array(Image.open(folder / "masks" / f"{name}.png"))
            np.testing.assert_array_equal(read_label_map(row["mask"]).values, crop_labels(truth, 320))
            np.testing.assert_array_equal(table.decode(row["image"]), pixels_of(folder, name))


def test_scores_are_of_the_middle_and_name_the_protocol(folder: Path, open_here: Callable[..., Run]) -> None:
    settings = ("discover.input_size=64", "discover.tau=0", "refine.min_images=2", "cluster.fine=12")
    run, _ = execute(open_here(folder, *settings, preset="best", clusters=4, protocol="stego"), RUN)
    metrics = collect_metrics(run)
    assert metrics is not None
    assert metrics["protocol"] == "stego"
    counts = run.commit(Evaluated)
    for masks in ("initial", "refined", "token_kmeans"):
        rows = [cells for part in counts.parts for cells in list_arrays(parquet.read_table(counts.path(part))[masks])]
        assert [int(np.asarray(cells)[:, 2].sum()) for cells in rows] == [320 * 320] * 3
        # Four stripes of 150 columns, of 100 after resizing, without 40 columns at either end.
        by_class = np.bincount(np.asarray(rows[0])[:, 0], weights=np.asarray(rows[0])[:, 2])
        assert (by_class / 320).tolist() == [60, 100, 100, 60]
    for facts in (Labelled, Predicted):
        commit = run.commit(facts)
        masks = [row for part in commit.parts for row in parquet.read_table(commit.path(part))["mask"].to_pylist()]
        assert {read_label_map(mask).values.shape for mask in masks} == {(320, 320)}


def test_tokens_are_means_over_the_crop_and_its_mirror_image(folder: Path, open_here: Callable[..., Run]) -> None:
    settings = ("discover.input_size=320", "discover.tau=0")
    run = open_here(folder, *settings, preset="best", clusters=4, protocol="stego")
    run, _ = execute(run, (INGEST, SURVEY, DISCOVER))
    commit = run.commit(Discovered)
    (part,) = commit.parts
    backbone, tap = load_backbone(BACKBONE), Tap("token")
    for name, tokens in zip(SIZES, list_arrays(parquet.read_table(commit.path(part))["tokens"]), strict=True):
        shown = pixels_of(folder, name)
        views = torch.from_numpy(np.stack([shown, shown[:, ::-1]]))
        plain, mirrored = backbone.extract(views, [tap])[tap].reshape(2, 20, 20, -1)
        mean = (plain + mirrored.flip(1)) / 2
        np.testing.assert_allclose(np.asarray(tokens), mean.reshape(400, -1).numpy(), atol=2e-3)


def test_the_protocol_is_part_of_every_fingerprint_and_the_default_is_not(
    folder: Path, open_here: Callable[..., Run]
) -> None:
    run = execute_stage(open_here(folder, clusters=4), INGEST)
    assert "protocol" not in storage.read_json(run.commit(Ingested).path("_BEGUN.json"))["decides"]
    stego = execute_stage(open_here(folder, clusters=4, protocol="stego"), INGEST)
    assert run.commit(Ingested).fingerprint != stego.commit(Ingested).fingerprint
    assert storage.read_json(stego.commit(Ingested).path("_BEGUN.json"))["decides"]["protocol"] == "stego"


def test_a_source_without_ground_truth_has_nothing_to_score(folder: Path, tmp_path: Path) -> None:
    run = make_run(folder / "images", tmp_path / "run", clusters=4, protocol="stego", labelled=False)
    with pytest.raises(UsageError, match=r"--protocol stego is a rule for scores, and .* has no ground truth"):
        plan_run(run.config)
    assert EVALUATE.left_out(run.prospect)


def test_new_images_are_labelled_whole_by_a_run_with_a_protocol(folder: Path, tmp_path: Path) -> None:
    kept = make_run(folder, tmp_path / "run", clusters=4, protocol="stego").config
    config = _config(kept, 4, {}, str(folder), str(tmp_path / "masks"), None, 0.05, None, None)
    assert (config.protocol, config.rendering.crop, config.export.format) == ("datus2", None, "png")
    assert config.discover.mirror  # as the tokens were by which the layer was fitted
