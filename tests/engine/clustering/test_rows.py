"""Row blocks in actors: the blocks that one process would hold, read once, and the same after an actor was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans

from datus2_ray.core.cluster.kmeans import kmeans
from datus2_ray.core.cluster.projection import fit_projection
from datus2_ray.core.cluster.questions import block_labels
from datus2_ray.core.cluster.rows import LocalRows, RowBlock
from datus2_ray.engine.clustering.kmeans import gather_votes
from datus2_ray.engine.clustering.rows import OwnRows, RayRows, hold_rows
from datus2_ray.engine.clustering.vectors import BlockPlan, VectorTable
from datus2_ray.engine.machines import Machines
from datus2_ray.store import parquet, storage
from tests.engine.clustering.conftest import DIGITS, WEIGHTS


@pytest.fixture(autouse=True)
def on_ray(open_run: Callable[..., object]) -> None:
    open_run(Path("unused"))


@dataclass(frozen=True)
class LoggedTable(VectorTable):
    """Notes in a file, which all processes share, when a block is read."""

    log: str = ""

    def read(self, plans: Sequence[BlockPlan], *, ahead: bool = False) -> Iterator[RowBlock]:
        for plan, block in zip(plans, super().read(plans, ahead=ahead), strict=True):
            with Path(self.log).open("a") as log:
                log.write(f"{plan.start}\n")
            yield block


@pytest.fixture
def logged(folder: str, tmp_path: Path) -> Iterator[LoggedTable]:
    return LoggedTable(folder, "descriptors", "sizes", log=str(tmp_path / "reads.txt"))


def vectors_of(block: RowBlock) -> np.ndarray:
    return block.x


def process_of(block: RowBlock) -> int:
    return os.getpid()


def local_rows(block_rows: int) -> LocalRows:
    starts = range(0, len(DIGITS), block_rows)
    return LocalRows([DIGITS[i : i + block_rows] for i in starts], [WEIGHTS[i : i + block_rows] for i in starts])


@pytest.mark.parametrize(("block_rows", "workers"), [(2000, 1), (257, 3)])  # 1 block and 7
def test_actors_compute_what_scikit_learn_and_one_process_do(
    folder: str, counts: dict[str, int], block_rows: int, workers: int
) -> None:
    start = DIGITS[:10].astype(np.float64)
    with closing(RayRows(VectorTable(folder, "descriptors", "sizes"), counts, workers, block_rows)) as rows:
        result = kmeans(rows, 10, start=start)
        labels = np.concatenate(rows.ask(block_labels, result.centroids, "euclidean"))
    theirs = KMeans(10, init=DIGITS[:10], n_init=1, algorithm="lloyd").fit(DIGITS.astype(np.float64), None, WEIGHTS)
    assert result.inertia == pytest.approx(theirs.inertia_, rel=1e-9)
    np.testing.assert_array_equal(labels, theirs.labels_)
    assert np.array_equal(kmeans(local_rows(block_rows), 10, start=start).centroids, result.centroids)


def test_few_vectors_stay_in_this_process_with_the_same_bits(folder: str, counts: dict[str, int]) -> None:
    table = VectorTable(folder, "descriptors", "sizes")
    passes: dict[type, list[int]] = {}
    results = {}
    for kind in (OwnRows, RayRows):
        seen = passes[kind] = []
        with closing(kind(table, counts, 2, 600, seen.append)) as rows:
            fit_projection(rows, "standardised", 5)
            fits = [kmeans(rows, 10, seed=1, first_start=number) for number in range(3)]
            results[kind] = (fits, gather_votes(rows, fits, "euclidean"))
    for ours, theirs in zip(*(fits for fits, _ in results.values()), strict=True):
        assert np.array_equal(ours.centroids, theirs.centroids)
    for ours, theirs in zip(*(votes for _, votes in results.values()), strict=True):
        assert np.array_equal(ours.overlap.toarray(), theirs.overlap.toarray())
        assert np.array_equal(ours.tree.left, theirs.tree.left)
    assert passes[OwnRows] == passes[RayRows] == [*range(1, len(passes[OwnRows]) + 1)]


@pytest.mark.parametrize(
    ("share", "held", "read", "parts", "kind"),
    [
        (1.0, DIGITS.nbytes, DIGITS.nbytes, 20, OwnRows),
        (1.0, DIGITS.nbytes - 1, DIGITS.nbytes, 20, RayRows),
        (1.0, DIGITS.nbytes, DIGITS.nbytes, 19, RayRows),
        (0.5, DIGITS.nbytes // 2, DIGITS.nbytes, 20, OwnRows),
        (0.5, DIGITS.nbytes // 2, DIGITS.nbytes - 1, 20, RayRows),
    ],
)
def test_actors_hold_many_vectors(
    folder: str,
    counts: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    held: int,
    read: int,
    parts: int,
    kind: type,
) -> None:
    for name, most in (("OWN_BYTES", held), ("OWN_BYTES_READ", read), ("OWN_PARTS", parts)):
        monkeypatch.setattr(f"datus2_ray.engine.clustering.rows.{name}", most)
    table = VectorTable(folder, "descriptors", share=share)
    with closing(hold_rows(table, counts, None, Machines.now(), lambda passes: None)) as rows:
        assert type(rows) is kind


def test_vectors_are_read_once_for_scaling_pca_and_kmeans(logged: LoggedTable, counts: dict[str, int]) -> None:
    with closing(RayRows(logged, counts, 2, 600)) as rows:
        projection = fit_projection(rows, "standardised", 5)
        ours = kmeans(rows, 4, seed=3)
    assert sorted(Path(logged.log).read_text().split(), key=int) == ["0", "600", "1200"]
    local = local_rows(600)
    expected = fit_projection(local, "standardised", 5)
    assert np.array_equal(projection.transform(DIGITS), expected.transform(DIGITS))
    assert np.array_equal(ours.centroids, kmeans(local, 4, seed=3).centroids)


def test_an_actor_killed_between_questions_comes_back_with_the_projected_rows(
    logged: LoggedTable, counts: dict[str, int]
) -> None:
    with closing(RayRows(logged, counts, 2, 600)) as rows:
        projection = fit_projection(rows, "centred", 5)
        before = rows.ask(vectors_of)
        processes = rows.ask(process_of)
        os.kill(processes[1], signal.SIGKILL)
        after = rows.ask(vectors_of)
        assert rows.ask(process_of)[1] != processes[1]
    assert sorted(Path(logged.log).read_text().split(), key=int) == ["0", "600", "600", "1200", "1200"]
    # Projected at once or step by step, before the kill or after it: the same bits.
    assert np.array_equal(np.concatenate(before), projection.transform(DIGITS))
    assert np.array_equal(np.concatenate(after), projection.transform(DIGITS))


def test_a_part_that_blocks_share_is_read_once(
    folder: str, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, files = parquet.read_table, []
    monkeypatch.setattr(parquet, "read_table", lambda uri, columns: files.append(uri) or read(uri, columns))
    rows = OwnRows(VectorTable(folder, "descriptors", "sizes"), counts, block_rows=50)
    assert len(rows.blocks) > len(counts)
    assert files == [storage.join(folder, part) for part in sorted(counts) if counts[part]]
    assert np.array_equal(np.concatenate([block.x for block in rows.blocks]), DIGITS)


def test_a_share_of_the_vectors_is_the_same_share_for_any_blocks(folder: str, counts: dict[str, int]) -> None:
    table = VectorTable(folder, "descriptors", share=0.25, seed=1)
    shares = []
    for block_rows in (300, 5000):
        shares.append(np.concatenate(OwnRows(table, counts, block_rows=block_rows).ask(vectors_of)))
    assert np.array_equal(*shares)
    assert 350 < len(shares[0]) < 550
