"""Clusters of the digits, as one process computes them: against NumPy, and what label makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from datus2_ray.core.cluster.assignment import assign
from datus2_ray.core.cluster.consensus import agree
from datus2_ray.core.cluster.rows import RowBlock
from datus2_ray.core.cluster.tree import merge
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.clustering.table import read_clusters, read_votes
from datus2_ray.engine.clustering.vectors import BlockPlan, VectorTable
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.stages.cluster.cluster import CLUSTER
from datus2_ray.stages.label.label import LABEL
from datus2_ray.store import parquet, schemas
from datus2_ray.store.columns import list_column
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Labelled

DIGITS = load_digits().data.astype(np.float32)

OpenRun = Callable[..., Run]


def write_segments(folder: Path, vectors: np.ndarray, per_image: int = 7, per_part: int = 30) -> Commit[Discovered]:
    """Write vectors as the descriptors of segments, `per_image` of them per image, images on a 4 x 4 patch grid."""
    parts = {}
    images = [vectors[i : i + per_image] for i in range(0, len(vectors), per_image)]
    for start in range(0, len(images), per_part):
        chosen = images[start : start + per_part]
        n = len(chosen)
        maps = [np.minimum(np.arange(16), len(c) - 1).astype(np.int16) for c in chosen]
        sizes = [np.bincount(m, minlength=len(c)) for m, c in zip(maps, chosen, strict=True)]
        columns = {
            "image_id": pa.array([f"i{start + i:05d}" for i in range(n)]),
            "height": pa.array([9] * n, pa.int32()),
            "width": pa.array([13] * n, pa.int32()),
            "grid_height": pa.array([4] * n, pa.int32()),
            "grid_width": pa.array([4] * n, pa.int32()),
            "patch_map": list_column(maps, pa.int16()),
            "sizes": list_column(sizes, pa.int32()),
            "descriptors": list_column(chosen, pa.list_(pa.float32(), vectors.shape[1])),
        }
        name = f"part-{start // per_part:06d}.parquet"
        parquet.write_table(str(folder / name), pa.table(columns))
        parts[name] = n
    return Commit(str(folder), f"segments of {folder.name}", len(images), len(images), 0, parts, Discovered())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Commit[Discovered]:
    return write_segments(tmp_path_factory.mktemp("digits"), DIGITS)


@pytest.fixture
def open_clustered(open_here: OpenRun) -> OpenRun:
    """Return a function that clusters segments with some settings."""

    def open_clustered(segments: Commit[Discovered], *settings: str, k: int = 10) -> Run:
        run = open_here(Path("unused"), "cluster.restarts=1", *settings, seed=4, clusters=k)
        return execute_stage(run.with_commit(segments), CLUSTER)

    return open_clustered


def masks_of(run: Run) -> list[dict[str, object]]:
    """Label the segments and return the rows of the first part."""
    commit = execute_stage(run, LABEL).commit(Labelled)
    rows: list[dict[str, object]] = parquet.read_table(commit.path(min(commit.parts))).to_pylist()
    return rows


def test_fine_clusters_are_merged_to_k(digits: Commit[Discovered], open_clustered: OpenRun, tmp_path: Path) -> None:
    run = open_clustered(digits, "cluster.fine=40")
    commit = run.commit(Clustered)
    assert commit.facts.centroids == 40
    clusters = read_clusters(commit, 10)
    assert clusters.centroids.shape == (40, 64)
    assert clusters.k == 10
    nearest = ((DIGITS[:, None].astype(np.float64) - clusters.centroids) ** 2).sum(axis=2).argmin(axis=1)
    assert len(np.unique(nearest)) == 40
    rows = masks_of(run)
    for i, row in enumerate(rows):
        assert row["segment_clusters"] == clusters.members[nearest[7 * i : 7 * i + 7]].tolist()
    assert decode_labels(rows[0]["mask"])[0, 0] == clusters.members[nearest[0]]
    # With fewer vectors than fine clusters, each is its own; zero vectors have no direction to be one.
    few = write_segments(tmp_path / "few", np.concatenate([DIGITS[:30], np.zeros((3, 64), np.float32)]))
    assert open_clustered(few, "cluster.fine=40", "cluster.metric=spherical").facts(Clustered).centroids == 30


@pytest.mark.parametrize("votes", [1, 4])
def test_another_k_is_read_off_the_same_result(digits: Commit[Discovered], open_clustered: OpenRun, votes: int) -> None:
    runs = {k: open_clustered(digits, "cluster.fine=40", f"cluster.votes={votes}", k=k) for k in (3, 4, 40)}
    commits = {k: run.commit(Clustered) for k, run in runs.items()}
    assert commits[3] == commits[4] == commits[40]
    labels = {}
    for k, run in runs.items():
        labelled = execute_stage(run, LABEL).commit(Labelled)
        rows = [row for part in labelled.parts for row in parquet.read_table(labelled.path(part)).to_pylist()]
        labels[k] = np.array([label for row in rows for label in row["segment_clusters"]])
        assert np.unique(labels[k]).tolist() == list(range(k))
    # Where clusterings vote, those of another K are voted on anew.
    for coarse, fine in ((3, 4), (4, 40)) if votes == 1 else ((3, 40), (4, 40)):
        assert all(len(np.unique(labels[coarse][labels[fine] == number])) == 1 for number in range(fine))
    # More than there are need other fine clusters, and are refused where the segments do not suffice.
    more = open_clustered(digits, "cluster.fine=40", k=41).commit(Clustered)
    assert (more.facts.centroids, more.fingerprint != commits[3].fingerprint) == (41, True)
    with pytest.raises(UsageError, match="K = 41 is not between 1 and the 40 fine clusters"):
        read_clusters(commits[3], 41)


def test_clusterings_vote_on_what_belongs_together(digits: Commit[Discovered], open_clustered: OpenRun) -> None:
    alone = open_clustered(digits, "cluster.fine=40", "cluster.votes=1").commit(Clustered)
    run = open_clustered(digits, "cluster.fine=40", "cluster.votes=3")
    commit = run.commit(Clustered)
    assert commit.fingerprint != alone.fingerprint
    table = parquet.read_table(commit.path("votes.parquet"))
    assert table.schema.equals(schemas.VOTES)
    assert len(table) == 3
    # The first is the clustering that is merged, and each starts elsewhere.
    first = parquet.read_table(commit.path("tree.parquet"))
    assert table["left"][0].as_py() == first["left"].to_pylist()
    assert table["fine"][0].as_py() == table["own"][0].as_py() == list(range(40))
    assert len({tuple(row["area"]) for row in table.to_pylist()}) == 3
    assert all(sum(row["area"]) == first["weight"][-1].as_py() for row in table.to_pylist())
    np.testing.assert_array_equal(read_clusters(commit, 10).centroids, read_clusters(alone, 10).centroids)
    # The tree leads through the clusters that were voted for.
    found = read_votes(commit.uri)
    of_k = {k: read_clusters(commit, k).members for k in range(2, 40)}
    assert all(adjusted_rand_score(members, agree(found, k)) == 1.0 for k, members in of_k.items())
    assert any(members.tolist() != read_clusters(alone, k).members.tolist() for k, members in of_k.items())
    members = of_k[10]
    assert not Path(alone.path("votes.parquet")).exists()
    rows = masks_of(run)
    assert all(row["segment_clusters"] == members[np.array(row["segment_fine"], dtype=int)].tolist() for row in rows)


def test_without_fine_clusters_k_means_finds_k(digits: Commit[Discovered], open_clustered: OpenRun) -> None:
    three, four = (open_clustered(digits, "cluster.fine=null", k=k).commit(Clustered) for k in (3, 4))
    assert (three.facts.centroids, four.facts.centroids) == (3, 4)
    assert read_clusters(four, 4).members.tolist() == [0, 1, 2, 3]


def test_the_tree_weighs_fine_clusters_by_area(digits: Commit[Discovered], open_clustered: OpenRun) -> None:
    commit = open_clustered(digits, "cluster.fine=40").commit(Clustered)
    centroids = read_clusters(commit, 40).centroids
    nearest, _ = assign(DIGITS, centroids, "euclidean")
    # Of seven segments on 16 patches the last has ten; of the five in the last image, it has twelve.
    areas = np.where(np.arange(len(DIGITS)) % 7 == 6, 10, 1)
    areas[-1] = 12
    weights = np.bincount(nearest, areas).astype(np.float64)
    tree = parquet.read_table(commit.path("tree.parquet"))
    assert tree.schema.equals(schemas.TREE)
    expected = merge(centroids, weights)
    assert tree["node"].to_pylist() == list(range(40, 79))
    for name, values in (("left", expected.left), ("right", expected.right), ("weight", expected.weights)):
        np.testing.assert_array_equal(tree[name].to_numpy(), values)
    np.testing.assert_allclose(tree["height"].to_numpy(), expected.heights)
    assert tree["weight"][-1].as_py() == weights.sum()


def test_scaling_subtracts_what_all_descriptors_share(open_clustered: OpenRun, tmp_path: Path) -> None:
    alike = DIGITS + np.float32(100)  # all of them point nearly the same way
    segments = write_segments(tmp_path / "alike", alike)
    spherical = "cluster.metric=spherical"
    centred, plain = (
        read_clusters(open_clustered(segments, spherical, f"cluster.scaling={scaling}").commit(Clustered), 10)
        for scaling in ("centred", "none")
    )
    assert plain.projection.scaling is None
    assert centred.projection.scaling is not None
    np.testing.assert_allclose(centred.projection.scaling.mean, alike.astype(np.float64).mean(axis=0), rtol=1e-6)
    of_digits, _ = assign(DIGITS - DIGITS.mean(axis=0), centred.centroids, "spherical")
    assert (centred.assign(alike)[0] == of_digits).mean() > 0.99
    # Where all vectors are equal, centring leaves nothing.
    same = write_segments(tmp_path / "same", alike[:1].repeat(30, axis=0))
    with pytest.raises(UsageError, match="larger than the 0 segments with a vector that is not zero"):
        open_clustered(same, spherical, "cluster.scaling=centred", k=2)


def test_each_descriptor_is_read_once(
    digits: Commit[Discovered], open_clustered: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = VectorTable.read

    def count(table: VectorTable, plans: Sequence[BlockPlan], *, ahead: bool = False) -> Iterator[RowBlock]:
        reads.extend((plan.start, plan.stop) for plan in plans)
        return read(table, plans, ahead=ahead)

    monkeypatch.setattr(VectorTable, "read", count)
    open_clustered(digits, "cluster.scaling=standardised", "cluster.pca=8")
    assert reads == [(0, len(DIGITS))]


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
def test_cluster_and_label(digits: Commit[Discovered], open_clustered: OpenRun, settings: tuple[str, ...]) -> None:
    run = open_clustered(digits, "cluster.epochs=3", *settings)
    commit = run.commit(Clustered)
    assert commit.facts.segments == len(DIGITS)
    inertias = parquet.read_table(commit.path("history.parquet"))["inertia"].to_pylist()
    if settings != ("cluster.algorithm=minibatch",):
        assert inertias == sorted(inertias, reverse=True)
    clusters = read_clusters(commit, 10)
    x = clusters.projection.transform(DIGITS).astype(np.float64)
    if clusters.metric == "spherical":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    nearest = ((x[:, None] - clusters.centroids) ** 2).sum(axis=2).argmin(axis=1)
    rows = masks_of(run)
    for i, row in enumerate(rows):
        assert row["segment_clusters"] == nearest[7 * i : 7 * i + 7].tolist()
    mask = decode_labels(rows[0]["mask"])
    assert mask.shape == (9, 13)
    assert mask[0, 0] == nearest[0]
    assert mask[8, 12] == nearest[6]


def test_k_above_the_number_of_segments_and_bad_descriptors(
    digits: Commit[Discovered], open_clustered: OpenRun, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="K = 1798 is larger than the 1797 segments"):
        open_clustered(digits, k=1798)
    broken = DIGITS.copy()
    broken[1000, 3] = np.nan
    with pytest.raises(DatusError, match="1 of 1797 segments have NaN"):
        open_clustered(write_segments(tmp_path / "broken", broken), k=3)
