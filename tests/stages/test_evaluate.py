from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from datus2_ray import storage
from datus2_ray.columns import list_arrays
from datus2_ray.config import load
from datus2_ray.context import RunContext
from datus2_ray.core.masks import decode_labels
from datus2_ray.core.scoring import score
from datus2_ray.run_folder import Commit
from datus2_ray.stages.baseline import baseline, read_baseline
from datus2_ray.stages.cluster import cluster
from datus2_ray.stages.discover import discover
from datus2_ray.stages.evaluate import evaluate
from datus2_ray.stages.export import export_png
from datus2_ray.stages.ingest import ingest
from datus2_ray.stages.label import label
from datus2_ray.stages.parts import configure_ray_data

CLASSES, CLUSTERS = ["sky", "grass", "water", "building", "tree", "animal"], 7


@pytest.fixture(scope="module")
def labelled(
    ray_session: None, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunContext, Commit, Commit, Commit]:
    out = tmp_path_factory.mktemp("run")
    flags = {"source": str(scenes), "out": str(out), "dataset": "demo", "limit": 10}
    flags |= {"backbone": "untrained:vit_tiny_patch16_224"}
    context = RunContext.open(load(flags, assignments=("ingest.images_per_part=4", "discover.descriptor=tokens")))
    configure_ray_data(no_progress_seconds=120)
    images = ingest(context)
    segments = discover(context, images, keep_tokens=True)
    cluster(context, segments, CLUSTERS)
    return context, images, segments, label(context, segments, context.folder)


def test_metrics_are_those_of_all_pixels_at_once(
    labelled: tuple[RunContext, Commit, Commit, Commit], scenes: Path
) -> None:
    context, _, segments, initial = labelled
    baseline(context, segments, CLUSTERS)
    metrics = evaluate(context, CLASSES, CLUSTERS, {"initial": initial})
    assert storage.read_json(context.folder.path("metrics.json")) == metrics
    assert (metrics["classes"], metrics["clusters"], metrics["images"]) == (CLASSES, CLUSTERS, 10)
    assert "refined" not in metrics

    truth, predicted, tokens = [], [], []
    centroids = read_baseline(context.folder)
    for part in initial.parts:
        masks = storage.read_table(context.folder.path("masks/initial", part)).to_pylist()
        vectors = list_arrays(storage.read_table(context.folder.path("segments", part))["tokens"])
        for row, x in zip(masks, vectors, strict=True):
            mask = np.asarray(Image.open(scenes / "masks" / f"{row['image_id']}.png"))
            truth.append(mask.ravel())
            predicted.append(decode_labels(row["mask"]).ravel())
            patches = (np.asarray(x, dtype=np.float64) @ centroids.T).argmax(axis=1).reshape(14, 14)
            rows = np.floor((np.arange(mask.shape[0]) + 0.5) * 14 / mask.shape[0]).astype(int)
            columns = np.floor((np.arange(mask.shape[1]) + 0.5) * 14 / mask.shape[1]).astype(int)
            tokens.append(patches[rows[:, None], columns].ravel())
    t = np.concatenate(truth)
    for name, guesses in (("initial", predicted), ("token_kmeans", tokens)):
        g = np.concatenate(guesses).astype(int)
        g[g == 255] = CLUSTERS
        counts = confusion_matrix(t, g, labels=range(CLUSTERS + 1))[: len(CLASSES)]
        assert metrics[name] == score(counts.astype(np.int64))


def test_exported_files_show_the_masks_of_the_table(labelled: tuple[RunContext, Commit, Commit, Commit]) -> None:
    context, _, _, initial = labelled
    export_png(context, CLUSTERS, {"initial": initial})
    for part in initial.parts:
        for row in storage.read_table(context.folder.path("masks/initial", part)).to_pylist():
            image = Image.open(context.folder.path("png/initial", f"{row['image_id']}.png"))
            assert image.mode == "P"
            np.testing.assert_array_equal(np.asarray(image), decode_labels(row["mask"]))
            colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
            assert len(colours) == len(np.unique(np.asarray(image)))
