"""Scores: those of all pixels at once, from counts per image that a crash in between leaves as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from sklearn.metrics import confusion_matrix

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.score.confusion import score
from datus2_ray.engine.clustering.table import read_token_clusters
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.run import Run
from datus2_ray.stages import RUN
from datus2_ray.stages.evaluate.count import ScorePart, sum_counts
from datus2_ray.stages.evaluate.evaluate import EVALUATE
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import (
    Discovered,
    Evaluated,
    Facts,
    Ingested,
    Labelled,
    Surveyed,
    TokensClustered,
    TokensMerged,
)
from datus2_ray.store.run_folder import COMMIT, part_name

CLASSES, K = ("sky", "grass", "water", "building", "tree", "animal"), 7


def test_metrics_are_those_of_all_pixels_at_once(open_here: Callable[..., Run], scenes: Path) -> None:
    settings = ("ingest.images_per_part=4", "discover.descriptor=tokens", "cluster.scaling=centred")
    run, _ = execute(open_here(scenes, *settings, dataset="demo", limit=10, clusters=K, no_refine=True), RUN)
    metrics = run.facts(Evaluated).metrics
    assert (metrics["classes"], metrics["clusters"], metrics["images"]) == (list(CLASSES), K, 10)
    assert "refined" not in metrics

    segments, initial, counted = run.commit(Discovered), run.commit(Labelled), run.commit(Evaluated)
    baselines = read_token_clusters(run.commit(TokensMerged), run.commit(TokensClustered))
    tokens = [x for part in initial.parts for x in list_arrays(parquet.read_table(segments.path(part))["tokens"])]
    mean = np.concatenate([np.asarray(x, dtype=np.float64) for x in tokens]).mean(axis=0)
    rows = [row for part in initial.parts for row in parquet.read_table(initial.path(part)).to_pylist()]
    tables = [parquet.read_table(counted.path(part)) for part in initial.parts]
    assert all(table.schema.equals(schemas.confusion(["initial", *baselines])) for table in tables)
    counts = [row for table in tables for row in table.to_pylist()]
    truth, predicted = [], []
    by_tokens: dict[str, list[np.ndarray]] = {name: [] for name in baselines}
    for row, count, x in zip(rows, counts, tokens, strict=True):
        mask = np.asarray(Image.open(scenes / "masks" / f"{row['image_id']}.png"))
        labels = decode_labels(row["mask"]).astype(int)
        labels[labels == 255] = K
        truth.append(mask.ravel())
        predicted.append(labels.ravel())
        centred = (np.asarray(x) - mean).astype(np.float16).astype(np.float64)
        y, x = (np.floor((np.arange(side) + 0.5) * 14 / side).astype(int) for side in mask.shape)
        for name, clusters in baselines.items():
            patches = clusters.members[(centred @ clusters.centroids.T).argmax(axis=1)].reshape(14, 14)
            by_tokens[name].append(patches[y[:, None], x].ravel())
        # The counts of an image are the cells of its own matrix.
        assert count["image_id"] == row["image_id"]
        expected = Counter(zip(mask.ravel().tolist(), labels.ravel().tolist(), strict=True))
        assert {(a, b): n for a, b, n in count["initial"]} == {k: n for k, n in expected.items() if k[0] < len(CLASSES)}
    for name, guesses in {"initial": predicted, **by_tokens}.items():
        matrix = confusion_matrix(np.concatenate(truth), np.concatenate(guesses), labels=range(K + 1))[: len(CLASSES)]
        assert metrics[name] == score(matrix.astype(np.int64))


def test_an_interrupted_evaluation_goes_on_and_gives_the_same_files(
    open_here: Callable[..., Run], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    run = open_here(tmp_path / "in", clusters=3)
    counts = {part_name(number): 2 for number in range(3)}
    sets: tuple[tuple[Facts, int], ...] = ((Ingested("folder"), 4), (Discovered(), 4), (Labelled(), 3))
    for facts, labels in sets:
        uri = run.folder.result(facts.stage, "made by hand")
        for part in counts:
            masks = [encode_labels(rng.choice([*range(labels), 255], (6, 8)).astype(np.uint8)) for _ in range(2)]
            rows = [{"image_id": f"{part}/{i}", "mask": mask} for i, mask in enumerate(masks)]
            parquet.write_table(storage.join(uri, part), pa.Table.from_pylist(rows, schema=schemas.MASKS))
        run = run.with_commit(Commit(uri, "made by hand", 6, 6, 0, counts, facts))
    run = run.with_commit(Commit("", "surveyed", 6, 6, 0, counts, Surveyed(6, ("a", "b", "c", "d"), (0, 1, 2, 3))))
    commit = execute_stage(run, EVALUATE).commit(Evaluated)
    assert parquet.read_table(commit.path(part_name(0))).schema.equals(schemas.confusion(["initial"]))
    before = {file: file.read_bytes() for file in Path(commit.uri).iterdir()}
    times = {file: file.stat().st_mtime_ns for file in before}

    assert execute_stage(run, EVALUATE).commit(Evaluated) == commit
    assert {file: file.stat().st_mtime_ns for file in before} == times

    missing = [Path(commit.path(name)) for name in (part_name(1), COMMIT)]
    for file in missing:
        file.unlink()
    assert execute_stage(run, EVALUATE).commit(Evaluated) == commit
    assert {file: file.read_bytes() for file in Path(commit.uri).iterdir()} == before
    kept = [file for file in before if file not in missing]
    assert [file.stat().st_mtime_ns for file in kept] == [times[file] for file in kept]


def test_images_without_ground_truth_are_not_scored(tmp_path: Path) -> None:
    truth = encode_labels(np.array([[0, 1], [1, 255]], np.uint8))
    images = [{"image_id": i, "mask": mask} for i, mask in (("a", truth), ("b", None), ("c", truth))]
    initial = [{"image_id": i, "mask": encode_labels(np.array([[0, 2], [255, 2]], np.uint8))} for i in "abc"]
    refined = [{"image_id": i, "mask": encode_labels(np.array([[2, 1], [1, 0]], np.uint8))} for i in "ab"]
    tables = {name: str(tmp_path / name) for name in ("images", "initial", "refined")}
    for name, rows in (("images", images), ("initial", initial), ("refined", refined)):
        parquet.write_table(f"{tables[name]}/p", pa.Table.from_pylist(rows, schema=schemas.MASKS))
    masks = {name: tables[name] for name in ("initial", "refined")}
    score_part = ScorePart(tables["images"], "", masks, {}, (0, 1), False, k=3, heartbeat=Unheard())
    counts = score_part(pa.table({"part": ["p"]}))
    cells = [[0, 0, 1], [1, 2, 1], [1, 3, 1]]
    assert counts["initial"].to_pylist() == [cells, None, cells]
    assert counts["refined"].to_pylist() == [[[0, 2, 1], [1, 1, 2]], None, []]
    parquet.write_table(str(tmp_path / "evaluate" / "p"), counts)
    totals, scored = sum_counts(str(tmp_path / "evaluate"), ["p"], ["initial", "refined"], 2, 3)
    assert scored == 2
    np.testing.assert_array_equal(totals["initial"], [[2, 0, 0, 0], [0, 0, 2, 2]])
    np.testing.assert_array_equal(totals["refined"], [[0, 0, 1, 0], [0, 2, 0, 0]])


def test_a_source_without_ground_truth_is_not_scored(open_here: Callable[..., Run], tmp_path: Path) -> None:
    _, left_out = execute(open_here(tmp_path / "in", clusters=3), (EVALUATE,))
    assert left_out == {"evaluate": "the source has no ground truth"}
