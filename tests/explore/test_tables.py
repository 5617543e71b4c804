"""The prepared tables: the same answers as from the run's own tables, a segment at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from datus2_ray.errors import StorageError
from datus2_ray.explore.prepare import ABOUT, prepare
from datus2_ray.explore.tables import UNCERTAIN, Tables, open_tables
from datus2_ray.store import folders, parquet, storage
from datus2_ray.store.facts import Labelled
from datus2_ray.store.run_folder import RunFolder
from tests.explore.made import FINGERPRINT, GRID, SIZE, MadeRun


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeRun, RunFolder, Tables]:
    made = MadeRun(tmp_path_factory.mktemp("tables") / "run", images=40, per_part=7)
    run = made.write()
    return made, run, open_tables(prepare(run), made.folder)


def leaves_of(made: MadeRun, node: int) -> set[int]:
    if node < made.leaves:
        return {node}
    merge = node - made.leaves
    return leaves_of(made, int(made.tree.left[merge])) | leaves_of(made, int(made.tree.right[merge]))


def test_the_rows_of_a_node_are_the_segments_of_its_fine_clusters(made: tuple[MadeRun, RunFolder, Tables]) -> None:
    run, _, tables = made
    ids = tables.image_ids.to_pylist()
    for node in range(2 * run.leaves - 1):
        rows, leaves = tables.rows(node), leaves_of(run, node)
        found = {
            (ids[image], int(segment)) for image, segment in zip(tables.image[rows], tables.segment[rows], strict=True)
        }
        expected = {
            (image, segment) for image, fine in run.fine.items() for segment, leaf in enumerate(fine) if leaf in leaves
        }
        assert found == expected
        assert len(found) == rows.stop - rows.start
        assert tables.node_images[node] == len({image for image, _ in expected})
        if node < run.leaves:
            assert (np.diff(tables.distance[rows]) >= 0).all()
            per_patch = SIZE[0] * SIZE[1] / (GRID[0] * GRID[1])
            assert tables.leaf_pixels[node] == pytest.approx(len(expected) * 8 * per_patch)
    for image, image_id in enumerate(ids):
        rows = tables.rows_of_image(image)
        assert tables.segment[rows].tolist() == list(range(6))
        assert tables.fine[rows].tolist() == run.fine[image_id].tolist()


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_samples_are_of_the_node_the_nearest_the_borderline_or_any(
    made: tuple[MadeRun, RunFolder, Tables], count: int
) -> None:
    run, _, tables = made
    for node in range(2 * run.leaves - 1):
        rows, leaves = tables.rows(node), leaves_of(run, node)
        inside = np.arange(rows.start, rows.stop)
        for kind in ("nearest", "random", "borderline"):
            found = tables.samples(node, kind, count)
            assert len(np.unique(found)) == len(found) <= count
            assert np.isin(found, inside).all()
            assert np.array_equal(found, tables.samples(node, kind, count))
            images = tables.image[found]
            different = len(np.unique(images))
            assert len(np.unique(images[:different])) == different, "different images come first"
        assert len(tables.samples(node, "random", count)) == min(count, len(inside))
        border = tables.samples(node, "borderline", 1000)
        assert set(border.tolist()) == {row for row in inside.tolist() if int(tables.second[row]) not in leaves}
        if len(inside):
            assert tables.samples(node, "nearest", 1)[0] in [rows.start, *tables.first[:-1]]
    if count == 1000:
        assert set(tables.samples(3, "nearest", 1000)) == set(range(tables.rows(3).start, tables.rows(3).stop))


def test_an_image_is_uncertain_by_the_area_that_may_belong_to_another_class(
    made: tuple[MadeRun, RunFolder, Tables],
) -> None:
    run, _, tables = made
    of_fine = np.arange(run.leaves) % 3
    expected = np.zeros(tables.images)
    for row in range(len(tables.image)):
        if tables.margin[row] < UNCERTAIN and of_fine[tables.fine[row]] != of_fine[tables.second[row]]:
            expected[tables.image[row]] += tables.pixels[row] / (SIZE[0] * SIZE[1])
    assert expected.any()
    assert np.allclose(tables.uncertainty(of_fine), expected)
    assert not tables.uncertainty(np.zeros(run.leaves)).any()


def test_tables_are_made_once_and_anew_after_an_interrupt(made: tuple[MadeRun, RunFolder, Tables]) -> None:
    _, run, tables = made
    folder = prepare(run)
    before = {entry.path: entry.modified_ns for entry in folders.list_files(folder)}
    assert prepare(run) == folder
    assert before == {entry.path: entry.modified_ns for entry in folders.list_files(folder)}
    storage.remove(storage.join(folder, ABOUT))
    assert np.array_equal(open_tables(prepare(run), Path(run.uri)).image, tables.image)


def test_masks_of_an_older_version_are_refused_with_what_to_do(tmp_path: Path) -> None:
    run = MadeRun(tmp_path / "run", images=2).write()
    part = storage.join(run.result(Labelled.stage, FINGERPRINT), "part-000000.parquet")
    parquet.write_table(part, parquet.read_table(part).drop_columns(["segment_second_distances"]))
    with pytest.raises(StorageError, match="run the same `datus2 run` again"):
        prepare(run)


def test_an_image_without_segments_is_an_image(tmp_path: Path) -> None:
    made = MadeRun(tmp_path / "run", images=3)
    run = made.write()
    for stage in ("label", "discover"):
        part = storage.join(run.result(stage, FINGERPRINT), "part-000000.parquet")
        table = parquet.read_table(part)
        for name in table.column_names:
            if name.startswith("segment_") or name == "sizes":
                rows = [[] if row == 1 else value for row, value in enumerate(table[name].to_pylist())]
                table = table.set_column(table.column_names.index(name), name, [rows])
        parquet.write_table(part, table)
    tables = open_tables(prepare(run), tmp_path)
    assert [len(tables.rows_of_image(image)) for image in range(3)] == [6, 0, 6]
