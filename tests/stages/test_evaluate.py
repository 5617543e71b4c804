from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datus2_ray.engine.context import RunContext
from PIL import Image
from sklearn.metrics import confusion_matrix

from datus2_ray.config.load import load
from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.score.confusion import score
from datus2_ray.engine.clustering.table import read_baseline
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.parts import configure_ray_data
from datus2_ray.stages.cluster.baseline import baseline
from datus2_ray.stages.cluster.cluster import cluster
from datus2_ray.stages.discover.discover import discover
from datus2_ray.stages.evaluate import ScorePart, evaluate, sum_counts
from datus2_ray.stages.ingest.ingest import ingest
from datus2_ray.stages.label.label import label
from datus2_ray.store import schemas, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.run_folder import Commit

CLASSES, CLUSTERS = ["sky", "grass", "water", "building", "tree", "animal"], 7


@pytest.fixture(scope="module")
def labelled(
    ray_session: None, scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunContext, Commit, Commit, Commit]:
    out = tmp_path_factory.mktemp("run")
    flags = {"source": str(scenes), "out": str(out), "dataset": "demo", "limit": 10}
    flags |= {"backbone": "untrained:vit_tiny_patch16_224"}
    settings = ("ingest.images_per_part=4", "discover.descriptor=tokens", "cluster.scaling=centred")
    context = RunContext.open(load(flags, assignments=settings))
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
    centroids = read_baseline(context.folder).centroids
    read = [storage.read_table(context.folder.path("segments", part))["tokens"] for part in initial.parts]
    mean = np.concatenate([np.asarray(x, dtype=np.float64) for column in read for x in list_arrays(column)]).mean(
        axis=0
    )
    for part in initial.parts:
        masks = storage.read_table(context.folder.path("masks/initial", part)).to_pylist()
        vectors = list_arrays(storage.read_table(context.folder.path("segments", part))["tokens"])
        for row, x in zip(masks, vectors, strict=True):
            mask = np.asarray(Image.open(scenes / "masks" / f"{row['image_id']}.png"))
            truth.append(mask.ravel())
            predicted.append(decode_labels(row["mask"]).ravel())
            centred = (np.asarray(x) - mean).astype(np.float16).astype(np.float64)
            patches = (centred @ centroids.T).argmax(axis=1).reshape(14, 14)
            rows = np.floor((np.arange(mask.shape[0]) + 0.5) * 14 / mask.shape[0]).astype(int)
            columns = np.floor((np.arange(mask.shape[1]) + 0.5) * 14 / mask.shape[1]).astype(int)
            tokens.append(patches[rows[:, None], columns].ravel())
    t = np.concatenate(truth)
    for name, guesses in (("initial", predicted), ("token_kmeans", tokens)):
        g = np.concatenate(guesses).astype(int)
        g[g == 255] = CLUSTERS
        counts = confusion_matrix(t, g, labels=range(CLUSTERS + 1))[: len(CLASSES)]
        assert metrics[name] == score(counts.astype(np.int64))


def test_counts_of_an_image_are_the_cells_of_its_confusion_matrix(
    labelled: tuple[RunContext, Commit, Commit, Commit], scenes: Path
) -> None:
    context, _, segments, initial = labelled
    baseline(context, segments, CLUSTERS)
    evaluate(context, CLASSES, CLUSTERS, {"initial": initial})
    for part in initial.parts:
        masks = storage.read_table(context.folder.path("masks/initial", part)).to_pylist()
        counts = storage.read_table(context.folder.path("evaluate", part))
        assert counts.schema.equals(schemas.confusion(["initial", "token_kmeans"]))
        for row, mask in zip(counts.to_pylist(), masks, strict=True):
            assert row["image_id"] == mask["image_id"]
            truth = np.asarray(Image.open(scenes / "masks" / f"{row['image_id']}.png"))
            predicted = decode_labels(mask["mask"]).astype(int)
            predicted[predicted == 255] = CLUSTERS
            expected = Counter(zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True))
            assert {(a, b): n for a, b, n in row["initial"]} == {
                k: n for k, n in expected.items() if k[0] < len(CLASSES)
            }


def test_an_interrupted_evaluation_goes_on_and_gives_the_same_files(
    labelled: tuple[RunContext, Commit, Commit, Commit],
) -> None:
    context, _, segments, initial = labelled
    baseline(context, segments, CLUSTERS)
    metrics = evaluate(context, CLASSES, CLUSTERS, {"initial": initial})
    folder, scores = Path(context.folder.path("evaluate")), Path(context.folder.path("metrics.json"))
    before = {file: file.read_bytes() for file in [*folder.iterdir(), scores]}
    times = {file: file.stat().st_mtime_ns for file in before}

    assert evaluate(context, CLASSES, CLUSTERS, {"initial": initial}) == metrics
    assert {file: file.stat().st_mtime_ns for file in before} == times

    missing = [folder / "part-000001.parquet", folder / "_COMMIT.json", scores]
    for file in missing:
        file.unlink()
    assert evaluate(context, CLASSES, CLUSTERS, {"initial": initial}) == metrics
    assert {file: file.read_bytes() for file in [*folder.iterdir(), scores]} == before
    kept = [file for file in before if file not in missing]
    assert [file.stat().st_mtime_ns for file in kept] == [times[file] for file in kept]


def test_images_without_ground_truth_are_not_scored(tmp_path: Path) -> None:
    truth = encode_labels(np.array([[0, 1], [1, 255]], np.uint8))
    images = [{"image_id": i, "mask": mask} for i, mask in (("a", truth), ("b", None), ("c", truth))]
    initial = [{"image_id": i, "mask": encode_labels(np.array([[0, 2], [255, 2]], np.uint8))} for i in "abc"]
    refined = [{"image_id": i, "mask": encode_labels(np.array([[2, 1], [1, 0]], np.uint8))} for i in "ab"]
    tables = {name: str(tmp_path / name) for name in ("images", "initial", "refined")}
    for name, rows in (("images", images), ("initial", initial), ("refined", refined)):
        storage.write_table(f"{tables[name]}/p", pa.Table.from_pylist(rows, schema=schemas.MASKS))
    masks = {name: tables[name] for name in ("initial", "refined")}
    score_part = ScorePart(tables["images"], "", masks, None, classes=2, clusters=3, heartbeat=Heartbeat())
    counts = score_part(pa.table({"part": ["p"]}))
    cells = [[0, 0, 1], [1, 2, 1], [1, 3, 1]]
    assert counts["initial"].to_pylist() == [cells, None, cells]
    assert counts["refined"].to_pylist() == [[[0, 2, 1], [1, 1, 2]], None, []]
    storage.write_table(str(tmp_path / "evaluate" / "p"), counts)
    totals, scored = sum_counts(str(tmp_path / "evaluate"), ["p"], ["initial", "refined"], 2, 3)
    assert scored == 2
    np.testing.assert_array_equal(totals["initial"], [[2, 0, 0, 0], [0, 0, 2, 2]])
    np.testing.assert_array_equal(totals["refined"], [[0, 0, 1, 0], [0, 2, 0, 0]])
