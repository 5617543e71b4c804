from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.rows import RowBlock
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.clusters_table import read_clusters
from datus2_ray.engine.context import RunContext
from datus2_ray.engine.rows import BlockPlan, VectorTable
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.stages.cluster.cluster import cluster
from datus2_ray.stages.label.label import label, paint
from datus2_ray.store import storage
from datus2_ray.store.columns import list_column
from datus2_ray.store.run_folder import Commit

DIGITS = load_digits().data.astype(np.float32)


def write_segments(folder: str, vectors: np.ndarray, per_image: int = 7, per_part: int = 30) -> Commit:
    """Lay vectors down as a table of segments: `per_image` of them an image, images on a 4 x 4 patch grid."""
    parts = {}
    images = [vectors[i : i + per_image] for i in range(0, len(vectors), per_image)]
    for start in range(0, len(images), per_part):
        chosen = images[start : start + per_part]
        n = len(chosen)
        maps = [np.minimum(np.arange(16), len(c) - 1).astype(np.int16) for c in chosen]
        columns = {
            "image_id": pa.array([f"i{start + i:05d}" for i in range(n)]),
            "height": pa.array([9] * n, pa.int32()),
            "width": pa.array([13] * n, pa.int32()),
            "grid_height": pa.array([4] * n, pa.int32()),
            "grid_width": pa.array([4] * n, pa.int32()),
            "patch_map": list_column(maps, pa.int16()),
            "sizes": list_column(
                [np.bincount(m, minlength=len(c)) for m, c in zip(maps, chosen, strict=True)], pa.int32()
            ),
            "descriptors": list_column(chosen, pa.list_(pa.float32(), vectors.shape[1])),
        }
        name = f"part-{start // per_part:06d}.parquet"
        storage.write_table(storage.join(folder, name), pa.table(columns))
        parts[name] = n
    return Commit("segments", len(images), len(images), 0, parts, {})


@pytest.fixture
def digits(open_run: Callable[..., RunContext], tmp_path: Path) -> tuple[RunContext, Commit]:
    context = open_run(tmp_path / "in", "cluster.restarts=2")
    return context, write_segments(context.folder.path("segments"), DIGITS)


def test_centroids_beyond_the_clusters_are_merged(
    digits: tuple[RunContext, Commit], open_run: Callable[..., RunContext]
) -> None:
    _, commit = digits
    context = open_run(Path("unused"), "cluster.overclustering=4", "cluster.restarts=1", seed=4)
    done = cluster(context, commit, 10)
    assert (done.facts["clusters"], done.facts["centroids"]) == (10, 40)
    found = read_clusters(context.folder)
    assert found.centroids.shape == (40, 64)
    assert found.k == 10
    masks = label(context, commit, context.folder)
    rows = storage.read_table(context.folder.path("masks/initial", next(iter(masks.parts)))).to_pylist()
    nearest = ((DIGITS[:, None].astype(np.float64) - found.centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert len(np.unique(nearest)) == 40
    for i, row in enumerate(rows):
        assert row["segment_clusters"] == found.members[nearest[7 * i : 7 * i + 7]].tolist()
    assert decode_labels(rows[0]["mask"])[0, 0] == found.members[nearest[0]]
    # With fewer vectors than such centroids, each is its own.
    few = replace(write_segments(context.folder.path("segments"), DIGITS[:30]), fingerprint="few")
    assert cluster(context, few, 10).facts["centroids"] == 30


def test_what_all_descriptors_share_is_taken_off_and_not_in_a_later_run_without(
    open_run: Callable[..., RunContext],
) -> None:
    alike = DIGITS + np.float32(100)  # all of them point nearly the same way
    commit = write_segments(open_run(Path("unused")).folder.path("segments"), alike)
    found = {}
    for scaling in ("centred", "none"):
        settings = (f"cluster.scaling={scaling}", "cluster.metric=spherical", "cluster.restarts=1")
        context = open_run(Path("unused"), *settings, seed=4)
        cluster(context, commit, 10)
        found[scaling] = read_clusters(context.folder)
    assert found["none"].projection.scaling is None
    mean = alike.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(found["centred"].projection.scaling.mean, mean, rtol=1e-6)
    centred = found["centred"].assign(alike)[0]
    of_digits, _ = assign(DIGITS - DIGITS.mean(axis=0), found["centred"].centroids, "spherical")
    assert (centred == of_digits).mean() > 0.99
    # Of nothing but the same vector, nothing is left to tell it apart by.
    same = replace(write_segments(context.folder.path("segments"), alike[:1].repeat(30, axis=0)), fingerprint="same")
    with pytest.raises(UsageError, match="larger than the 0 segments with a vector that is not zero"):
        cluster(open_run(Path("unused"), "cluster.scaling=centred", "cluster.metric=spherical"), same, 2)


def test_each_descriptor_is_read_once_by_the_stage(
    digits: tuple[RunContext, Commit],
    open_run: Callable[..., RunContext],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    class LoggedTable(VectorTable):
        def read(self, plan: BlockPlan) -> RowBlock:
            with (tmp_path / "reads.txt").open("a") as log:
                log.write(f"{plan.start}-{plan.stop} ")
            return super().read(plan)

    monkeypatch.setattr("datus2_ray.stages.cluster.cluster.VectorTable", LoggedTable)
    context = open_run(Path("unused"), "cluster.scaling=standardised", "cluster.pca=8", "cluster.restarts=1")
    cluster(context, digits[1], 10)
    assert (tmp_path / "reads.txt").read_text().split() == ["0-1797"]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("cluster.pca=8", "cluster.metric=spherical"),
        ("cluster.scaling=centred", "cluster.metric=spherical"),
        ("cluster.scaling=standardised", "cluster.pca=8"),
        ("cluster.algorithm=minibatch",),
    ],
)
def test_cluster_and_label(
    digits: tuple[RunContext, Commit], open_run: Callable[..., RunContext], settings: tuple[str, ...]
) -> None:
    _, commit = digits
    context = open_run(Path("unused"), "cluster.epochs=3", *settings, seed=4)
    done = cluster(context, commit, 10)
    assert done.facts["segments"] == len(DIGITS)
    history = storage.read_table(context.folder.path("clusters/history.parquet")).to_pylist()
    if settings != ("cluster.algorithm=minibatch",):
        inertias = [row["inertia"] for row in history]
        assert inertias == sorted(inertias, reverse=True)
    masks = label(context, commit, context.folder)
    rows = storage.read_table(context.folder.path("masks/initial", next(iter(masks.parts)))).to_pylist()
    found = read_clusters(context.folder)
    x = found.projection.transform(DIGITS).astype(np.float64)
    if found.metric == "spherical":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = ((x[:, None] - found.centroids) ** 2).sum(axis=2).argmin(axis=1)
    for i, row in enumerate(rows):
        assert row["segment_clusters"] == nearest[7 * i : 7 * i + 7].tolist()
    mask = decode_labels(rows[0]["mask"])
    assert mask.shape == (9, 13)
    assert mask[0, 0] == nearest[0]
    assert mask[8, 12] == nearest[6]


def test_k_out_of_range_and_bad_descriptors(
    digits: tuple[RunContext, Commit], open_run: Callable[..., RunContext]
) -> None:
    context, commit = digits
    with pytest.raises(UsageError, match="K = 1"):
        cluster(context, commit, 1)
    with pytest.raises(UsageError, match="K = 1798 is larger than the 1797 segments"):
        cluster(context, commit, 1798)
    broken = DIGITS.copy()
    broken[1000, 3] = np.nan
    write_segments(context.folder.path("segments"), broken)
    with pytest.raises(DatusError, match="1 of 1797 segments have NaN"):
        cluster(context, commit, 3)


def test_paint_marks_noise_and_widens_above_254_clusters() -> None:
    patch_map = np.array([[0, -1], [1, 1]])
    small = paint(patch_map, np.array([5, 253]), 254)
    assert small.dtype == np.uint8
    assert small.tolist() == [[5, 255], [253, 253]]
    wide = paint(patch_map, np.array([5, 254]), 255)
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[5, 65535], [254, 254]]
    assert paint(np.full((1, 2), -1), np.empty(0, dtype=np.int32), 6).tolist() == [[255, 255]]
