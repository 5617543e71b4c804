from __future__ import annotations

from pathlib import Path

import numpy as np

from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.labels import encode_labels
from datus2_ray.sources.layouts.published.camvid import CAMVID


def test_eleven_classes_and_void_is_ignored() -> None:
    ids = np.array([[0, 10, 11, 12, 255]], np.uint8)
    np.testing.assert_array_equal(CAMVID.decode_mask(encode_labels(ids), 1, 5).values, [[0, 10, 255, 255, 255]])
    assert CAMVID.class_names == (
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    )  # fmt: skip


def test_real_frames(real_data: Path) -> None:
    root = real_data / "camvid"
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    assert len(CAMVID.samples(files, "train")) == 367
    assert len(CAMVID.samples(files, None)) == 468
    samples = CAMVID.samples(files, "val")
    assert len(samples) == 101
    counts = np.zeros(256, np.int64)
    for sample in samples[::10]:
        assert sample.mask is not None
        size = decode((root / sample.image).read_bytes()).shape[:2]
        assert size == (360, 480)
        counts += np.bincount(
            CAMVID.decode_mask((root / sample.mask).read_bytes(), *size).values.ravel(), minlength=256
        )
    assert counts[11:255].sum() == 0
    # A street: most of it is road, buildings, sky and trees.
    assert counts[[0, 1, 3, 5]].sum() > 0.6 * counts.sum()
    assert 0 < counts[255] < 0.1 * counts.sum()
