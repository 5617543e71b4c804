"""Corrections: what was drawn is what the segments are named, in as few names as it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.images.labels import upsample_nearest
from datus2_ray.core.names.corrections import DrawnImage, correct, count_drawn
from datus2_ray.core.names.names import NamedClass, Names

CLASSES = (NamedClass("road", "#e69f00"), NamedClass("tree", "#009e73"), NamedClass("sky", "#56b4e9"))
FINE = 6


def image(rng: np.random.Generator, image_id: str) -> tuple[DrawnImage, np.ndarray]:
    """Draw a class, or none, in all of every segment of an image."""
    patch_map = rng.integers(-1, 5, (4, 6))
    segments = 5
    classes = rng.integers(-1, len(CLASSES), segments)
    drawn = upsample_nearest(np.append(classes, -1).astype(np.uint8)[patch_map], 13, 17)
    fine = rng.integers(0, FINE, segments).astype(np.int32)
    counted = count_drawn(image_id, drawn, patch_map, fine, len(CLASSES))
    present = np.isin(np.arange(segments), upsample_nearest(patch_map.astype(np.int64), 13, 17))  # type: ignore[arg-type]
    return counted, np.where(present, classes, -1)


def some_names(rng: np.random.Generator) -> Names:
    clusters = {int(number): int(rng.integers(2)) for number in rng.permutation(FINE)[:3]}
    named = (NamedClass("Tree", "#ff0000"), NamedClass("house", "#e69f00"))
    return Names("c", named, clusters, {"0": {0: 1}, "9": {7: 0}})


@given(seed=st.integers(0, 10**6))
def test_segments_are_what_was_drawn_in_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [image(rng, str(number)) for number in range(3)]
    before = some_names(rng) if seed % 2 else Names("c")
    after = correct(before, CLASSES, [drawn for drawn, _ in images])
    for drawn, classes in images:
        np.testing.assert_array_equal(drawn.classes, classes)
        found = after.of_segments(drawn.image_id, drawn.fine)
        for segment in np.flatnonzero(classes >= 0):
            title = CLASSES[classes[segment]].name
            assert after.classes[found[segment]].name.casefold() == title.casefold()
    # What has a name keeps it, and nothing is named twice for the same.
    assert {n: before.classes[c].name for n, c in before.clusters.items()}.items() <= {
        n: after.classes[c].name for n, c in after.clusters.items()
    }.items()
    assert after.segments.get("9") == before.segments.get("9")
    drawn_in = {drawn.image_id: (drawn, classes) for drawn, classes in images}
    for image_id, own in after.segments.items():
        for segment, number in own.items():
            if image_id in drawn_in and drawn_in[image_id][1][segment] >= 0:
                assert after.clusters.get(int(drawn_in[image_id][0].fine[segment])) != number
    # Once more changes nothing.
    assert correct(after, CLASSES, [drawn for drawn, _ in images]) == after


def test_a_cluster_without_a_class_gets_the_one_that_most_of_it_was_drawn_as() -> None:
    fine = np.array([4, 4, 1], np.int32)
    drawn = DrawnImage("a", fine, np.array([[9, 0, 0], [0, 30, 0], [0, 0, 2]]), np.array([10, 40, 10]))
    after = correct(Names("c"), CLASSES, [drawn])
    assert {number: after.classes[c].name for number, c in after.clusters.items()} == {4: "tree", 1: "sky"}
    # Segment 0 differs; of segment 2, little was drawn, which is enough for a cluster that nobody named.
    assert {number: after.classes[c].name for number, c in after.segments["a"].items()} == {0: "road"}


@pytest.mark.parametrize(("drawn", "name"), [(6, "tree"), (5, None), (1, None)])
def test_a_segment_is_named_where_more_than_half_of_it_was_drawn_as_something_else(
    drawn: int, name: str | None
) -> None:
    before = Names("c", CLASSES, {0: 0})
    image = DrawnImage("a", np.array([0], np.int32), np.array([[1, drawn, 0]]), np.array([10]))
    after = correct(before, CLASSES, [image])
    assert after.clusters == before.clusters
    assert [after.classes[c].name for c in after.segments.get("a", {}).values()] == ([name] if name else [])


def test_colours_are_those_of_the_file_unless_another_class_has_them() -> None:
    drawn = DrawnImage("a", np.array([0], np.int32), np.array([[5, 5, 0]]), np.array([10]))
    after = correct(Names("c", (NamedClass("house", "#e69f00"),)), CLASSES, [drawn])
    colours = {named.name: named.colour for named in after.classes}
    assert list(colours) == ["house", "road", "tree"]
    assert colours["tree"] == "#009e73"
    assert len(set(colours.values())) == 3


@pytest.mark.parametrize("segments", [0, 2])
def test_images_without_anything_drawn_change_nothing(segments: int) -> None:
    fine = np.zeros(segments, np.int32)
    nothing = DrawnImage("a", fine, np.zeros((segments, 3), np.int64), np.full(segments, 9))
    assert correct(Names("c"), CLASSES, [nothing]) == Names("c")
    assert correct(replace(Names("c"), clusters={}), CLASSES, []) == Names("c")
