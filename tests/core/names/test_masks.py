"""What names make of masks of clusters: the naive reading, pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.names.masks import classes_of_clusters, label_table, paint_clusters, paint_segments
from datus2_ray.core.names.names import NamedClass


def classes(count: int, ignored: tuple[int, ...] = ()) -> tuple[NamedClass, ...]:
    return tuple(NamedClass(f"class {number}", "#000000", number in ignored) for number in range(count))


def test_a_cluster_has_the_class_of_most_of_its_area() -> None:
    fine = np.array([0, 1, -1, 1, -1, 2, 0])
    members = np.array([0, 0, 0, 1, 1, 2, 3])
    areas = np.array([5, 4, 3, 2, 7, 1, 0])
    # Of cluster 1 most is unnamed; that of cluster 3 has no area.
    assert classes_of_clusters(fine, members, areas, 3).tolist() == [0, -1, 2, 0]
    # As much without a name as with one: the name.
    assert classes_of_clusters(np.array([-1, 1]), np.array([0, 0]), np.array([2, 2]), 2).tolist() == [1]
    assert classes_of_clusters(np.array([-1, -1]), np.array([0, 1]), np.array([2, 2]), 0).tolist() == [-1, -1]


def test_labels_are_as_wide_as_they_must_be_and_ignored_classes_have_none() -> None:
    table = label_table(classes(3, (1,)))
    assert (table.dtype, table.tolist()) == (np.uint8, [0, 255, 2, 255])
    assert label_table(classes(254)).dtype == np.uint8
    wide = label_table(classes(255, (0,)))
    assert (wide.dtype, wide[0], wide[254], wide[-1]) == (np.uint16, 65535, 254, 65535)
    assert label_table(()).tolist() == [255]


@given(st.integers(0, 10_000))
def test_every_pixel_is_painted_as_the_rule_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, segments, count = int(rng.integers(1, 6)), int(rng.integers(0, 5)), int(rng.integers(1, 4))
    height, width = (int(side) for side in rng.integers(3, 12, 2))
    patch_map = rng.integers(-1, max(segments, 0), (2, 3)) if segments else np.full((2, 3), -1)
    of_segments, own = rng.integers(0, k, segments), rng.integers(-1, count, segments)
    of_clusters = rng.integers(-1, count, k)
    clusters = rng.choice([*range(k), 255], (height, width)).astype(np.uint8)
    ignored = tuple(np.flatnonzero(rng.random(count) < 0.3))
    table = label_table(classes(count, ignored))
    found = paint_segments(clusters, of_clusters, patch_map, of_segments, own, table)
    assert found.dtype == np.uint8
    by_cluster = paint_clusters(clusters, of_clusters, table)
    for y in range(height):
        for x in range(width):
            cluster = clusters[y, x]
            alone = -1 if cluster == 255 else of_clusters[cluster]
            segment = patch_map[int((y + 0.5) * 2 / height), int((x + 0.5) * 3 / width)]
            expected = own[segment] if segment >= 0 and of_segments[segment] == cluster else alone
            for label, mask in ((expected, found), (alone, by_cluster)):
                assert mask[y, x] == (255 if label < 0 or label in ignored else label)
