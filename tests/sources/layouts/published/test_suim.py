from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datus2_ray.core.images.decode import decode
from datus2_ray.errors import ImageError
from datus2_ray.sources.layouts.layout import DatasetLayout
from datus2_ray.sources.layouts.published.suim import SUIM, SUIM6


def classes_of(layout: DatasetLayout, data: bytes, height: int, width: int) -> np.ndarray:
    return layout.decode_mask(data, height, width).values


def bmp(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="BMP")
    return file.getvalue()


def listing(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def test_the_code_of_every_class() -> None:
    # Islam et al. 2020, table 1.
    table = {
        (0, 0, 0): "water", (0, 0, 1): "human diver", (0, 1, 0): "aquatic plants and sea-grass",
        (0, 1, 1): "wrecks and ruins", (1, 0, 0): "robots", (1, 0, 1): "reefs and invertebrates",
        (1, 1, 0): "fish and vertebrates", (1, 1, 1): "sea-floor and rocks",
    }  # fmt: skip
    colours = np.tile(np.array([list(table)], np.uint8) * 255, (8, 1, 1))
    assert SUIM.class_names is not None
    assert [SUIM.class_names[k] for k in classes_of(SUIM, bmp(colours), 8, 8)[0]] == list(table.values())
    assert SUIM.palette is not None
    np.testing.assert_array_equal(SUIM.palette[classes_of(SUIM, bmp(colours), 8, 8)], colours)
    six = {
        "human diver": 0,
        "robots": 1,
        "fish and vertebrates": 2,
        "reefs and invertebrates": 3,
        "wrecks and ruins": 4,
    }
    np.testing.assert_array_equal(
        classes_of(SUIM6, bmp(colours), 8, 8)[0], [six.get(name, 5) for name in table.values()]
    )
    assert SUIM6.class_names == (*six, "background")


def test_soft_edges_are_thresholded_at_127() -> None:
    colours = np.full((8, 8, 3), (127, 128, 3), np.uint8)
    assert (classes_of(SUIM, bmp(colours), 8, 8) == 0b010).all()


@pytest.mark.parametrize(("height", "width"), [(10, 20), (64, 20), (66, 20), (10 + 55, 21), (20, 10), (1, 1)])
def test_only_55_surplus_rows_are_cut(height: int, width: int) -> None:
    colours = np.zeros((height, width, 3), np.uint8)
    if (height, width) == (10, 20):
        assert classes_of(SUIM, bmp(colours), 10, 20).shape == (10, 20)
        return
    with pytest.raises(ImageError) as caught:
        classes_of(SUIM, bmp(colours), 10, 20)
    assert caught.value.kind == "mask_size"


def test_the_top_left_is_kept() -> None:
    colours = np.random.default_rng(0).integers(0, 2, (10 + 55, 20, 3), np.uint8) * np.uint8(255)
    np.testing.assert_array_equal(classes_of(SUIM, bmp(colours), 10, 20), classes_of(SUIM, bmp(colours[:10]), 10, 20))


def test_unreadable_masks() -> None:
    for data in (b"", b"text", bmp(np.zeros((20, 20, 3), np.uint8))[:300]):
        with pytest.raises(ImageError) as caught:
            classes_of(SUIM6, data, 20, 20)
        assert caught.value.kind == "mask_unreadable"


def test_real_faults(real_data: Path) -> None:
    root = real_data / "suim_sample" / "raw_faults"
    samples = SUIM.samples(listing(root), None)
    assert len(samples) == 6
    for sample in samples:
        assert sample.mask is not None
        size = decode((root / sample.image).read_bytes()).shape[:2]
        with Image.open(root / sample.mask) as image:
            raw = np.asarray(image)
        classes = classes_of(SUIM, (root / sample.mask).read_bytes(), *size)
        assert classes.shape == size
        # f_r_*: 55 rows too many; d_r_*: borders with colours that are in no palette.
        assert raw.shape[0] - size[0] == (55 if sample.image_id.startswith("f_r") else 0)
        if sample.image_id.startswith("d_r"):
            assert not np.isin(raw, (0, 255)).all()
        # Naive reading, one pixel at a time on a sample of them.
        rng = np.random.default_rng(0)
        for y, x in zip(rng.integers(0, size[0], 200), rng.integers(0, size[1], 200), strict=True):
            red, green, blue = (int(channel > 127) for channel in raw[y, x])
            assert classes[y, x] == 4 * red + 2 * green + blue


def test_real_sample_with_bmp_masks(real_data: Path) -> None:
    root = real_data / "suim_sample"
    samples = SUIM6.samples(listing(root), None)
    # raw_faults/ lies beside the pair of folders and is no part of it.
    assert len(samples) == 8
    for sample in samples:
        assert sample.mask is not None
        assert sample.mask.endswith(".bmp")
        ids = classes_of(
            SUIM6, (root / sample.mask).read_bytes(), *decode((root / sample.image).read_bytes()).shape[:2]
        )
        assert ids.max() < 6


def test_real_class_shares(real_data: Path) -> None:
    root = real_data / "suim"
    samples = SUIM.samples(listing(root), "train_val")
    assert len(samples) == 1509
    assert all(sample.mask for sample in samples)
    counts = np.zeros(8, np.int64)
    for sample in samples[::15]:
        assert sample.mask is not None
        size = decode((root / sample.image).read_bytes()).shape[:2]
        counts += np.bincount(classes_of(SUIM, (root / sample.mask).read_bytes(), *size).ravel(), minlength=8)
    # Water, divers, plants, wrecks, robots, reefs, fish, sea-floor over the whole set.
    published = np.array([33.5, 2.4, 2.0, 7.1, 0.6, 32.2, 7.6, 14.6])
    assert np.abs(100 * counts / counts.sum() - published).max() < 6
