"""The digits as the vectors of images in twenty parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_column

DIGITS = load_digits().data.astype(np.float32)
WEIGHTS = np.arange(len(DIGITS)) % 5 + 1
#: Vectors of each image, some of which have none.
LENGTHS = np.random.default_rng(0).integers(0, 14, 600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the digits as the descriptors of images, 30 images per part."""
    folder = tmp_path_factory.mktemp("segments")
    ends = np.minimum(np.cumsum(LENGTHS), len(DIGITS))
    images, weights = np.split(DIGITS, ends)[:-1], np.split(WEIGHTS, ends)[:-1]
    assert ends[-1] == len(DIGITS)
    for number, start in enumerate(range(0, len(images), 30)):
        columns = {
            "descriptors": list_column(images[start : start + 30], pa.list_(pa.float32(), DIGITS.shape[1])),
            "sizes": list_column(weights[start : start + 30], pa.int32()),
        }
        parquet.write_table(storage.join(str(folder), f"part-{number:06d}.parquet"), pa.table(columns))
    return str(folder)


@pytest.fixture(scope="module")
def counts(folder: str) -> dict[str, int]:
    """Return the vectors in every part."""
    names = sorted(file.name for file in Path(folder).iterdir())
    ends = np.minimum(np.cumsum(LENGTHS), len(DIGITS))
    per_image = np.diff(ends, prepend=0)
    return {name: int(per_image[30 * number : 30 * number + 30].sum()) for number, name in enumerate(names)}
