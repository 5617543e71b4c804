from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.report import samples as module
from datus2_ray.report.colours import cluster_colours
from datus2_ray.report.facts import read_run
from datus2_ray.report.samples import MaskColours, OtherRun, choose_rows, draw_samples
from datus2_ray.store import parquet


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 12))
def test_chosen_rows_are_evenly_spread_over_all_parts(sizes, count):
    parts = {f"part-{i:02d}": size for i, size in enumerate(sizes)}
    chosen = choose_rows(parts, count)
    starts = dict(zip(parts, np.cumsum([0, *sizes])[:-1].tolist(), strict=True))
    places = [starts[part] + row for part, rows in chosen.items() for row in rows]
    assert all(0 <= row < parts[part] for part, rows in chosen.items() for row in rows)
    assert len(set(places)) == len(places) == min(count, sum(sizes))
    gaps = np.diff(places)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_only_the_parts_of_chosen_images_are_read(make_run, monkeypatch):
    run = read_run(make_run(images=40, images_per_part=1, clusters=3))
    read = []

    def read_table(uri, columns=None):
        read.append(uri.rpartition("/")[2])
        return parquet.read_table(uri, columns)

    monkeypatch.setattr(module, "parquet", type("", (), {"read_table": staticmethod(read_table)}))
    draw_samples(run, MaskColours(cluster_colours(3, None, None), None, None))
    assert len(set(read)) == 12


def test_an_image_that_has_no_refined_mask_or_ground_truth_is_shown_without(make_run):
    run = read_run(make_run(images=2, images_per_part=2, clusters=3))
    for commit in (run.ingested, run.predicted):
        uri = commit.path("part-000000.parquet")
        table = parquet.read_table(uri)
        rows = table.to_pylist()
        rows = rows[1:] if commit is run.predicted else [{**rows[0], "mask": None}, *rows[1:]]
        parquet.write_table(uri, table.from_pylist(rows, schema=table.schema))
    colours = cluster_colours(3, None, None)
    first, second = draw_samples(run, MaskColours(colours, colours, colours))
    assert [picture.caption for picture in first.pictures] == ["image", "segments", "initial mask"]
    assert [picture.caption for picture in second.pictures][3:] == ["refined mask", "ground truth"]


def test_the_masks_of_another_run_are_shown_beside_under_its_name(make_run, tmp_path):
    run = read_run(make_run(images=2, clusters=3))
    other = make_run(images=2, clusters=3, folder=tmp_path / "other", perfect=True, refined=False)
    colours = cluster_colours(3, None, None)
    beside = OtherRun("paper", read_run(other), MaskColours(colours, None, None))
    samples = draw_samples(run, MaskColours(colours, colours, None), beside)
    for sample in samples:
        captions = {picture.caption: picture.uri for picture in sample.pictures}
        assert list(captions)[2:] == ["paper: initial mask", "initial mask", "refined mask"]
    assert (
        samples[0].pictures[2].uri == draw_samples(read_run(other), MaskColours(colours, None, None))[0].pictures[2].uri
    )
