"""Names of one clustering carried over to another of the same images."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.names.carry import SegmentedImage, carry_over
from datus2_ray.core.names.names import NamedClass, Names

CLASSES = (NamedClass("road", "#000000"), NamedClass("car", "#ffffff"))


def image(image_id: str, rows: list[list[int]], fine: list[int]) -> SegmentedImage:
    return SegmentedImage(image_id, np.array(rows), np.array(fine, int))


def test_the_same_clustering_keeps_all_names() -> None:
    rng = np.random.default_rng(0)
    images = []
    for number in range(6):
        patch_map = rng.integers(-1, 4, (6, 6))
        patch_map.flat[:4] = range(4)
        images.append(SegmentedImage(f"i{number}", patch_map, rng.integers(0, 5, 4)))
    used = {int(fine) for one in images for fine in one.fine}
    names = Names("old", CLASSES, {number: number % 2 for number in used if number != 3}, {"i0": {1: 1, 2: 0}})
    carried = carry_over(names, "new", 5, ((one, one) for one in images))
    assert (carried.names.clustering, carried.names.classes) == ("new", CLASSES)
    assert carried.names.clusters == names.clusters
    assert (carried.open_clusters, carried.open_segments) == ({}, {})
    # An exception that says what the cluster says anyway is none.
    expected = {s: c for s, c in names.segments["i0"].items() if names.clusters.get(int(images[0].fine[s])) != c}
    assert carried.names.segments.get("i0", {}) == expected


def test_a_cluster_without_a_majority_stays_open_and_is_listed() -> None:
    old = image("a", [[0, 0, 1, 1], [2, 2, 2, -1]], [0, 1, 2])
    new = image("a", [[0, 0, 0, 0], [1, 1, 1, 2]], [0, 1, 2])
    names = Names("old", CLASSES, {0: 0, 2: 1})
    carried = carry_over(names, "new", 3, [(old, new)])
    # Half of cluster 0 was road, half had no name; all of cluster 1 was car; cluster 2 was noise.
    assert carried.names.clusters == {1: 1}
    assert carried.open_clusters == {0: "road"}


def test_grids_of_another_size_are_compared_by_place() -> None:
    old = image("a", [[0, 1]], [0, 1])
    new = image("a", [[0, 0, 1, 1], [0, 0, 1, 1]], [1, 0])
    carried = carry_over(Names("old", CLASSES, {0: 0, 1: 1}), "new", 2, [(old, new)])
    assert carried.names.clusters == {1: 0, 0: 1}


def test_a_single_segment_is_found_again_or_listed() -> None:
    names = Names("old", CLASSES, {0: 0}, {"a": {1: 1, 2: 1}, "gone": {0: 1}})
    old = image("a", [[0, 0, 0, 1, 1, 2]], [0, 0, 0])
    # Segment 1 is one of two halves of a new one; segment 2 is a small part of another.
    new = image("a", [[0, 0, 1, 1, 1, 0]], [0, 0])
    carried = carry_over(names, "new", 1, [(old, new)])
    assert carried.names.segments == {"a": {1: 1}}
    assert carried.open_segments == {"a": [2], "gone": [0]}
