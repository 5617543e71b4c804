from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.report.typical import TypicalSegments

K, COUNT = 3, 4

segments = st.tuples(st.integers(0, K - 1), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.7]))
sets = st.lists(st.lists(segments, max_size=6), max_size=8)


def collect(images, order):
    typical = TypicalSegments(K, COUNT)
    for i in order:
        clusters = np.array([cluster for cluster, _ in images[i]], dtype=np.int32)
        distances = np.array([distance for _, distance in images[i]])
        typical.add_image(f"part-{i // 2}", f"image {i}", clusters, distances)
    return [typical.of(cluster) for cluster in range(K)]


def naive(images, cluster):
    found = sorted(
        (distance, i, segment)
        for i, image in enumerate(images)
        for segment, (c, distance) in enumerate(image)
        if c == cluster
    )
    firsts = [one for place, one in enumerate(found) if one[1] not in {other[1] for other in found[:place]}]
    others = [one for one in found if one not in firsts]
    return sorted((firsts + others)[:COUNT])


@given(sets)
def test_the_nearest_of_each_image_come_first_then_the_nearest_of_all(images):
    kept = collect(images, range(len(images)))
    for cluster in range(K):
        assert [(s.distance, int(s.image_id.split()[1]), s.segment) for s in kept[cluster]] == naive(images, cluster)


@given(sets, st.randoms())
def test_the_order_of_the_images_does_not_matter(images, random):
    order = list(range(len(images)))
    random.shuffle(order)
    assert collect(images, order) == collect(images, range(len(images)))


def test_an_image_of_alike_segments_does_not_push_the_others_out():
    images = [[(0, 0.0)] * 6, [(0, 0.7)], [(0, 0.5)]]
    (kept, *_) = collect(images, range(3))
    assert {segment.image_id for segment in kept} == {"image 0", "image 1", "image 2"}
    assert [segment.distance for segment in kept] == [0.0, 0.0, 0.5, 0.7]
