from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from datus2_ray.core.images.decode import decode
from datus2_ray.demo.scenes import render
from datus2_ray.demo.write import write_demo
from datus2_ray.sources.layouts.demo import DEMO, PALETTE
from datus2_ray.sources.layouts.folder import FOLDER


def test_what_is_written_is_a_data_set(tmp_path: Path) -> None:
    write_demo(tmp_path / "new" / "demo", count=3, seed=5)
    root = tmp_path / "new" / "demo"
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    samples = DEMO.samples(files, None)
    assert [s.image_id for s in samples] == ["scene_0000", "scene_0001", "scene_0002"]
    assert samples == FOLDER.samples(files, None)
    for index, sample in enumerate(samples):
        assert sample.mask is not None
        pixels, labels = render(index, seed=5)
        stored = decode((root / sample.image).read_bytes())
        assert stored.shape == pixels.shape
        assert np.abs(stored.astype(int) - pixels).mean() < 4
        np.testing.assert_array_equal(DEMO.decode_mask((root / sample.mask).read_bytes(), 240, 320).values, labels)
        with Image.open(root / sample.mask) as shown:
            np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), PALETTE[labels])


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_demo(tmp_path / name, count=2)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
