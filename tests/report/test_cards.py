from __future__ import annotations

from datus2_ray.report.cards import draw_crops
from datus2_ray.report.facts import read_run
from datus2_ray.report.typical import TypicalSegment


def test_crops_are_given_for_every_segment_asked_for(make_run):
    run = read_run(make_run(images=3, images_per_part=2))
    wanted = [
        TypicalSegment(0.5, "image_000", 0, "part-000000.parquet"),
        TypicalSegment(0.1, "image_000", 2, "part-000000.parquet"),
        TypicalSegment(0.25, "image_002", 1, "part-000001.parquet"),
    ]
    crops = draw_crops(run, wanted)
    assert set(crops) == set(wanted)
    assert crops[wanted[2]].alt == "Segment 1 of image_002, 0.25 from the centroid"
