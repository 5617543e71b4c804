"""The whole chain, by its public face, on scenes with exact masks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datus2_ray
from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.errors import BackboneError
from datus2_ray.store import storage

SETTINGS = (
    "ingest.images_per_part=10",
    "discover.actors=1",  # each imports torch, which takes longer than the models' work on a few images
    "cluster.workers=2",
    "cluster.restarts=3",
    "refine.steps=4",
    "refine.size=64",
    "refine.batch_size=4",
    "refine.workers=1",
    "evaluate.token_restarts=1",
)


def settings(scenes: Path, out: Path, *more: str, **flags: Any) -> RunConfig:
    flags = {"source": str(scenes), "out": str(out), "dataset": "demo", **flags}
    return load({"backbone": "untrained:vit_tiny_patch16_224", **flags}, preset="paper", assignments=SETTINGS + more)


def times(out: Path) -> dict[str, int]:
    """When every table, checkpoint, picture, commit and score of a run was last written."""
    kept = (".parquet", ".safetensors", ".png", "_COMMIT.json", "metrics.json")
    return {str(f.relative_to(out)): f.stat().st_mtime_ns for f in out.rglob("*") if f.name.endswith(kept)}


@pytest.mark.slow
def test_the_chain_from_images_to_scores_and_back_again(ray_session: None, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = datus2_ray.run(settings(scenes, out, save_png=True))

    metrics = storage.read_json(str(out / "metrics.json"))
    assert metrics["classes"] == ["sky", "grass", "water", "building", "tree", "animal"]
    assert (metrics["clusters"], metrics["images"], metrics["seed"]) == (6, 24, 0)
    for name in ("initial", "refined", "token_kmeans"):
        assert set(metrics[name]) == {"one_to_one", "many_to_one", "datus2", "nmi", "ari", "matching"}
        assert 0 < metrics[name]["one_to_one"]["pixel_accuracy"] <= metrics[name]["many_to_one"]["pixel_accuracy"] <= 1
    assert metrics["refined"]["datus2"]["coverage"] == 1
    assert summary["metrics"] == metrics
    assert not summary["backbone"]["trained"]
    assert "untrained" in (out / "report" / "index.html").read_text().lower()
    pictures = sorted((out / "png" / "refined").rglob("*.png"))
    assert len(pictures) == 24
    assert Image.open(pictures[0]).size == (320, 240)

    # The same command again: no table is written, and the answer is the same.
    before = times(out)
    again = datus2_ray.run(settings(scenes, out, save_png=True))
    assert times(out) == before
    assert again["metrics"] == metrics

    # Other clusters: what comes before them stays, what comes after them is new.
    other = datus2_ray.run(settings(scenes, out, clusters=4))
    after = times(out)
    for name, when in before.items():
        unchanged = name.startswith(("images/", "segments/")) or name == "quarantine/ingest.parquet"
        assert not unchanged or after[name] == when, name
    assert other["clusters"] == 4
    assert len(other["metrics"]["initial"]["matching"]) == 4
    assert other["metrics"]["initial"] != metrics["initial"]

    # Images that the run never saw, of another size, without ground truth.
    new = tmp_path / "new"
    new.mkdir()
    for i in range(3):
        Image.open(sorted((scenes / "images").iterdir())[i]).resize((90, 70)).save(new / f"{i}.png")
    folder = datus2_ray.predict(str(out), str(new), str(tmp_path / "masks"))
    labels = [np.asarray(Image.open(f)) for f in sorted(Path(folder).iterdir())]
    assert [x.shape for x in labels] == [(70, 90)] * 3
    assert max(int(x.max()) for x in labels) < 4
    assert not (tmp_path / "masks" / "metrics.json").exists()


@pytest.mark.slow
def test_a_plain_folder_without_refinement_has_masks_but_no_scores(
    ray_session: None, scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = settings(scenes / "images", out, dataset="folder", clusters=3, limit=6, refine={"enabled": False})
    summary = datus2_ray.run(config)
    assert summary["metrics"] is None
    assert not (out / "metrics.json").exists()
    assert not (out / "masks" / "refined").exists()
    assert (out / "report" / "index.html").exists()
    folder = datus2_ray.predict(str(out), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    # Without a segmenter the centroids label the new images; these two were seen, so the masks must be the run's own.
    for file in Path(folder).iterdir():
        assert Image.open(file).size == (320, 240)
    own = storage.read_table(str(out / "masks/initial/part-000000.parquet"))["mask"].to_pylist()[:2]
    new = storage.read_table(str(tmp_path / "masks/masks/initial/part-000000.parquet"))["mask"].to_pylist()
    assert new == own


@pytest.mark.slow
def test_the_best_preset_reads_no_label_and_predicts_with_its_own_backbone(
    ray_session: None, scenes: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "vit.safetensors"
    shutil.copyfile(PACKAGED_WEIGHTS, weights)
    shutil.copyfile(PACKAGED_WEIGHTS.with_suffix(".json"), tmp_path / "vit.json")
    bare = tmp_path / "bare"
    shutil.copytree(scenes / "images", bare / "images")
    flags: dict[str, Any] = {"dataset": "demo", "clusters": 6, "limit": 20, "backbone": str(weights)}
    outs = []
    for source in (scenes, bare):
        outs.append(tmp_path / f"run-{source.name}")
        config = load({"source": str(source), "out": str(outs[-1]), **flags}, preset="best", assignments=SETTINGS)
        datus2_ray.run(config)
    assert (outs[0] / "metrics.json").exists()
    assert not (outs[1] / "metrics.json").exists()
    for name in ("initial", "refined"):
        labelled, unlabelled = (
            [storage.read_table(str(part)) for part in sorted((out / "masks" / name).glob("part-*"))] for out in outs
        )
        assert len(labelled) == 2
        assert sum(len(table) for table in labelled) == 20
        assert all(one.equals(other) for one, other in zip(labelled, unlabelled, strict=True)), name

    # Images that were seen get the masks that they have, as long as the weights are the same.
    datus2_ray.predict(str(outs[0]), str(scenes / "images"), str(tmp_path / "masks"), limit=2)
    own = storage.read_table(str(outs[0] / "masks/refined/part-000000.parquet"))["mask"].to_pylist()[:2]
    assert storage.read_table(str(tmp_path / "masks/masks/refined/part-000000.parquet"))["mask"].to_pylist() == own
    (tmp_path / "vit.json").write_text('{"mean": [0, 0, 0]}')
    with pytest.raises(BackboneError, match="not those that the run was refined with"):
        datus2_ray.predict(str(outs[0]), str(scenes / "images"), str(tmp_path / "more"), limit=2)
