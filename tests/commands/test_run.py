"""The whole chain, by its public face, on scenes with exact masks."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datus2_ray
from datus2_ray.commands.predict import predict
from datus2_ray.commands.relabel import relabel
from datus2_ray.commands.run import run
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.core.head.recipes import Recipe
from datus2_ray.errors import BackboneError
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Ingested, Labelled
from datus2_ray.store.run_folder import RunFolder
from tests.commands.conftest import FinishedRun, small_settings, tables


def times(out: Path) -> dict[str, int]:
    """When every file of a run was last written."""
    return {str(file): file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}


@pytest.mark.slow
def test_the_chain_from_images_to_scores_and_back_again(
    finished_run: FinishedRun, scenes: Path, tmp_path: Path
) -> None:
    summary, out = finished_run.summary, Path(finished_run.config.out)
    metrics = storage.read_json(str(out / "metrics.json"))
    assert metrics["classes"] == ["sky", "grass", "water", "building", "tree", "animal"]
    assert (metrics["clusters"], metrics["images"], metrics["seed"]) == (6, 24, 0)
    for name in ("initial", "refined", "token_kmeans", "token_kmeans_merged"):
        assert set(metrics[name]) == {"one_to_one", "many_to_one", "datus2", "nmi", "ari", "matching"}
        assert 0 < metrics[name]["one_to_one"]["pixel_accuracy"] <= metrics[name]["many_to_one"]["pixel_accuracy"] <= 1
    assert metrics["refined"]["datus2"]["coverage"] == 1
    assert summary["metrics"] == metrics
    assert not summary["backbone"]["trained"]
    assert "untrained" in (out / "report" / "index.html").read_text().lower()
    pictures = sorted(out.glob("export/*/png/masks/**/*.png"))
    assert len(pictures) == 24
    assert Image.open(pictures[0]).size == (320, 240)

    # The same command again: no file is written, and the answer is the same.
    before = times(out)
    assert datus2_ray.run(finished_run.config) == summary
    assert times(out) == before

    # Images that the run never saw, of another size, without ground truth.
    new = tmp_path / "new"
    new.mkdir()
    for i in range(3):
        Image.open(sorted((scenes / "images").iterdir())[i]).resize((90, 70)).save(new / f"{i}.png")
    folder = datus2_ray.predict(str(out), str(new), str(tmp_path / "masks"))
    labels = [np.asarray(Image.open(file)) for file in sorted(Path(folder).iterdir())]
    assert [x.shape for x in labels] == [(70, 90)] * 3
    assert max(int(x.max()) for x in labels) < 6
    assert not (tmp_path / "masks" / "metrics.json").exists()
    assert times(out) == before


def test_a_plain_folder_without_refinement_has_masks_but_no_scores(here: None, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = small_settings(scenes / "images", out, dataset="folder", clusters=3, limit=6, no_refine=True)
    summary = run(config)
    assert summary["metrics"] is None
    assert not (out / "metrics.json").exists()
    assert not (out / "predict").exists()
    assert (out / "report" / "index.html").exists()
    folder = predict(str(out), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    # Without a segmenter the centroids label the new images; these two were seen, so the masks must be the run's own.
    files = list(Path(folder).iterdir())
    assert [Image.open(file).size for file in files] == [(320, 240)] * 2
    own = tables(str(out))["label/part-000000.parquet"]["mask"].to_pylist()[:2]
    assert tables(str(tmp_path / "masks"))["label/part-000000.parquet"]["mask"].to_pylist() == own


def test_new_images_are_shown_by_the_range_of_the_run(here: None, scenes: Path, tmp_path: Path) -> None:
    for folder in ("all", "dark"):
        (tmp_path / folder).mkdir()
    for number, path in enumerate(sorted((scenes / "images").iterdir())[:6]):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        Image.fromarray(grey // 4 if number == 0 else grey).save(tmp_path / "all" / f"{number}.png")
    shutil.copy(tmp_path / "all" / "0.png", tmp_path / "dark")
    out = str(tmp_path / "run")
    summary = run(small_settings(tmp_path / "all", out, dataset="folder", clusters=3, no_refine=True))
    assert list(summary["notes"].values()) == [6]
    predict(out, str(tmp_path / "dark"), str(tmp_path / "masks"))
    ranges = [RunFolder(str(place)).require(Ingested).facts.ranges for place in (out, tmp_path / "masks")]
    assert ranges[0] == ranges[1]
    own, new = (tables(str(place))["label/part-000000.parquet"]["mask"][0] for place in (out, tmp_path / "masks"))
    assert own == new


def test_segments_described_by_a_head_are_clustered_labelled_and_predicted(
    here: None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datus2_ray.core.head.recipes.Recipe", partial(Recipe, steps=20))
    out = tmp_path / "run"
    flags: dict[str, Any] = {"dataset": "folder", "clusters": 3, "limit": 8, "no_refine": True}
    head = ("cluster.descriptors=head", "cluster.fine=20")
    run(small_settings(scenes / "images", out, *head, **flags))
    one = tables(str(out))
    assert len(one["cluster/centroids.parquet"]["centroid"][0]) == 64
    assert "64 codes of a head, 20 steps" in (out / "report" / "index.html").read_text()
    predict(str(out), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    other = tables(str(tmp_path / "masks"))
    assert other["codes/part-000000.parquet"].equals(one["codes/part-000000.parquet"].slice(0, 2))
    own = one["label/part-000000.parquet"]["mask"].to_pylist()
    assert other["label/part-000000.parquet"]["mask"].to_pylist() == own[:2]
    # Another number of clusters, and back: by the same codes.
    relabel(str(out), 5)
    masks = parquet.read_table(RunFolder(str(out)).require(Labelled).path("part-000000.parquet"))
    assert max(max(clusters) for clusters in masks["segment_clusters"].to_pylist()) == 4
    relabel(str(out), 3)
    again = parquet.read_table(RunFolder(str(out)).require(Labelled).path("part-000000.parquet"))
    assert again["mask"].to_pylist() == own


def test_patches_are_units_from_the_images_to_the_report_and_to_new_images(
    here: None, scenes: Path, tmp_path: Path
) -> None:
    def start(out: Path, *more: str) -> dict[str, Any]:
        flags = {"dataset": "demo", "limit": 6, "preset": "best"}
        return run(small_settings(scenes, out, "discover.unit=patches", "cluster.fine=20", *more, **flags))

    summary = start(tmp_path / "run", "refine.workers=1", "refine.min_images=2")
    assert (summary["segments"], summary["unstructured"]) == (6 * 16, 0)
    assert {"initial", "refined", "token_kmeans_merged"} < set(summary["metrics"])
    page = (tmp_path / "run/report/index.html").read_text()
    assert "every patch is a segment of its own" in page
    assert "Segments of " not in page
    assert "to tell them apart" not in page
    (initial,) = tables(str(tmp_path / "run"))["label/part-000000.parquet"]["segment_clusters"][:1].to_pylist()
    assert len(initial) == 16

    start(tmp_path / "unrefined", "refine.enabled=false")
    predict(str(tmp_path / "unrefined"), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    of_run, of_new = (tables(str(tmp_path / name))["label/part-000000.parquet"] for name in ("unrefined", "masks"))
    assert of_new["mask"].to_pylist() == of_run["mask"].to_pylist()[:2]


def test_the_best_preset_reads_no_label_and_predicts_with_its_own_backbone(
    here: None, scenes: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "vit.safetensors"
    shutil.copyfile(PACKAGED_WEIGHTS, weights)
    shutil.copyfile(PACKAGED_WEIGHTS.with_suffix(".json"), tmp_path / "vit.json")
    bare = tmp_path / "bare"
    shutil.copytree(scenes / "images", bare / "images")
    flags: dict[str, Any] = {"dataset": "demo", "clusters": 6, "limit": 8, "backbone": str(weights)}
    small = ("ingest.images_per_part=4", "refine.min_images=4")
    labelled, unlabelled = tmp_path / "run-scenes", tmp_path / "run-bare"
    for source, out in ((scenes, labelled), (bare, unlabelled)):
        run(small_settings(source, out, *small, preset="best", **flags))
    assert (labelled / "metrics.json").exists()
    assert not (unlabelled / "metrics.json").exists()
    one, other = tables(str(labelled)), tables(str(unlabelled))
    masks = {name for name in one if name.startswith(("label/", "predict/"))}
    assert len(masks) == 4
    assert one["em/history.parquet"].equals(other["em/history.parquet"])
    assert sum(len(one[name]) for name in masks) == 2 * 8
    for name in masks:
        assert one[name].equals(other[name]), name

    # Images that were seen get the masks that they have, as long as the weights are the same.
    predict(str(labelled), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    own = one["predict/part-000000.parquet"]["mask"].to_pylist()[:2]
    assert tables(str(tmp_path / "masks"))["predict/part-000000.parquet"]["mask"].to_pylist() == own
    (tmp_path / "vit.json").write_text('{"mean": [0, 0, 0]}')
    with pytest.raises(BackboneError, match="not those that the run was made with"):
        predict(str(labelled), str(scenes / "images"), str(tmp_path / "more"), limit=2)
