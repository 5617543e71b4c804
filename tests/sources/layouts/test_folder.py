from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from datus2_ray.core.images.labels import encode_labels
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.sources.layouts import ground_truth
from datus2_ray.sources.layouts.folder import FOLDER
from datus2_ray.sources.layouts.layout import Inside
from datus2_ray.sources.layouts.samples import Sample
from datus2_ray.sources.paths import Paths


def test_any_tree_of_images() -> None:
    files = ["z.jpg", "a/b/c.PNG", "a/notes.txt", "a/.hidden.jpg", "broken.jpg"]
    assert FOLDER.samples(files, None) == [
        Sample("a/b/c", "a/b/c.PNG", None),
        Sample("broken", "broken.jpg", None),
        Sample("z", "z.jpg", None),
    ]


def test_one_image() -> None:
    assert FOLDER.samples(["a.tif"], None) == [Sample("a", "a.tif", None)]


def test_images_and_masks_are_pairs() -> None:
    files = ["images/a.jpg", "images/x/b.jpg", "images/c.jpg", "masks/a.png", "masks/x/b.bmp", "masks/d.png"]
    assert FOLDER.samples(files, None) == [
        Sample("a", "images/a.jpg", "masks/a.png"),
        Sample("c", "images/c.jpg", None),
        Sample("x/b", "images/x/b.jpg", "masks/x/b.bmp"),
    ]


def test_masks_beside_the_images_themselves() -> None:
    files = ["a.jpg", "x/b.jpg", "masks/a.png", "masks/x/b.png"]
    assert FOLDER.samples(files, None) == [
        Sample("a", "a.jpg", "masks/a.png"),
        Sample("x/b", "x/b.jpg", "masks/x/b.png"),
    ]


def test_pairs_deeper_in_the_tree() -> None:
    files = ["one/images/a.jpg", "one/masks/a.png", "two/images/a.jpg", "two/masks/a.png", "extra/a.jpg"]
    assert FOLDER.samples(files, None) == [
        Sample("extra/a", "extra/a.jpg", None),
        Sample("one/images/a", "one/images/a.jpg", "one/masks/a.png"),
        Sample("two/images/a", "two/images/a.jpg", "two/masks/a.png"),
    ]


def test_a_folder_of_pictures_of_masks_is_a_folder_of_images() -> None:
    files = ["carnival/masks/venice.jpg", "carnival/masks/rio.png", "carnival/hats/straw.jpg"]
    samples = FOLDER.samples(files, None)
    assert [s.image_id for s in samples] == ["carnival/hats/straw", "carnival/masks/rio", "carnival/masks/venice"]
    assert all(s.mask is None for s in samples)


def test_masks_that_fit_no_image_are_refused() -> None:
    with pytest.raises(UsageError, match="no mask in masks/ is named like an image"):
        FOLDER.samples(["images/a.jpg", "masks/b.png"], None)


def test_every_image_is_a_sample_or_a_mask() -> None:
    rng = np.random.default_rng(0)
    names = ["images", "masks", "a", "b"]
    for _ in range(200):
        depth = rng.integers(1, 4, 12)
        files = sorted(
            {"/".join([*rng.choice(names, d), f"{rng.integers(3)}.{rng.choice(['png', 'jpg'])}"]) for d in depth}
        )
        try:
            samples = FOLDER.samples(files, None)
        except UsageError:
            continue
        assert len({s.image_id for s in samples}) == len(samples)
        images, masks = {s.image for s in samples}, {s.mask for s in samples if s.mask}
        assert not images & masks
        assert all("masks" in path.split("/") for path in set(files) - images)


@pytest.mark.parametrize("masks", [0, 20_000])
def test_many_names_take_little_memory(masks: int) -> None:
    count = 40_000 - masks
    days = [f"images/camera-{number % 7}/day-{number // 1000:04d}/frame-{number:08d}.jpg" for number in range(count)]
    names = days + [f"masks{path[6:-4]}.png" for path in days[:masks]]
    files = Paths.of(sorted(names))
    del days, names
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    samples = FOLDER.samples(files, None, inside=Inside(lambda paths: [None for _ in paths]))
    peak, held = tracemalloc.get_traced_memory()[1], pa.total_allocated_bytes() - before
    tracemalloc.stop()
    assert len(samples) == count
    assert sum(1 for sample in samples if sample.mask) == masks
    # The texts of a path and its id have some 40 bytes each, and become Python's a few thousand at a time.
    assert peak + held < 40_000 * 160 + 2_500_000


def test_mask_ids_and_faults() -> None:
    ids = np.array([[0, 1, 254], [255, 7, 7]], np.uint8)
    np.testing.assert_array_equal(FOLDER.decode_mask(encode_labels(ids), 2, 3).values, ids)
    np.testing.assert_array_equal(FOLDER.decode_mask(encode_labels(ids.astype(np.uint16)), 2, 3).values, ids)
    for data, size, kind in (
        (encode_labels(ids), (3, 2), "mask_size"),
        (encode_labels(np.arange(300, dtype=np.uint16).reshape(2, 150)), (2, 150), "mask_format"),
        (b"", (2, 3), "mask_unreadable"),
        (encode_labels(ids)[:50], (2, 3), "mask_unreadable"),
    ):
        with pytest.raises(ImageError) as caught:
            FOLDER.decode_mask(data, *size)
        assert caught.value.kind == kind
        assert "mask" in caught.value.message


def test_a_mask_may_be_as_large_as_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "MAX_MEGAPIXELS", 1)
    ids = np.zeros((1200, 1000), np.uint8)
    assert FOLDER.decode_mask(encode_labels(ids), 1200, 1000).values.shape == (1200, 1000)
    with pytest.raises(
        ImageError, match="1000x1200 pixels, more than 1 megapixels, and its image is smaller"
    ) as caught:
        FOLDER.decode_mask(encode_labels(ids), 100, 100)
    assert caught.value.kind == "mask_size"
