from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np

from datus2_ray.report import survey as module
from datus2_ray.report.facts import read_run
from datus2_ray.report.survey import MAX_CROPS, survey_segments
from datus2_ray.store import parquet


def without_parts(survey):
    return {
        name: [[(s.image_id, s.segment, s.distance) for s in segments] for segments in survey.typical]
        if name == "typical"
        else value
        for name, value in asdict(survey).items()
    }


def test_counts_are_those_of_the_tables(make_run):
    run = read_run(make_run(images=9, clusters=4, images_per_part=4))
    survey = survey_segments(run)
    clusters = [
        np.array(row)
        for part in run.labelled.parts
        for row in parquet.read_table(run.labelled.path(part))["segment_clusters"].to_pylist()
    ]
    assert (survey.images, survey.segments, survey.min_segments, survey.max_segments, survey.empty_images) == (
        9,
        27,
        3,
        3,
        0,
    )
    np.testing.assert_array_equal(survey.cluster_segments, np.bincount(np.concatenate(clusters), minlength=4))
    np.testing.assert_array_equal(survey.cluster_images, [sum(k in row for row in clusters) for k in range(4)])
    # Two rows of eight are noise in every image; the other six are three segments.
    assert survey.noise_share == 0.25
    np.testing.assert_allclose(survey.cluster_shares, survey.cluster_segments * 16 / (9 * 64))


def test_how_the_images_are_cut_into_parts_does_not_matter(make_run):
    surveys = [
        without_parts(survey_segments(read_run(make_run(images=11, images_per_part=size)))) for size in (1, 3, 11)
    ]
    for other in surveys[1:]:
        assert other.pop("typical") == surveys[0]["typical"]
        for name in other:
            np.testing.assert_array_equal(surveys[0][name], other[name])


def test_no_picture_or_vector_is_read(make_run, monkeypatch):
    run, columns = read_run(make_run(images=6)), set()

    def read_table(uri, names=None):
        columns.update(names)
        return parquet.read_table(uri, names)

    monkeypatch.setattr(module, "parquet", type("", (), {"read_table": staticmethod(read_table)}))
    survey_segments(run)
    assert columns == {"image_id", "grid_height", "grid_width", "sizes", "segment_clusters", "segment_distances"}


def test_the_number_of_crops_is_bounded_whatever_k_is(make_run):
    run = read_run(make_run(images=30, clusters=250))
    for clusters in (250, 2 * MAX_CROPS, 100 * MAX_CROPS):
        assert sum(map(len, survey_segments(replace(run, k=clusters)).typical)) <= MAX_CROPS
