"""The known data sets, one file each: where the images and masks are, and what the masks mean."""

from __future__ import annotations

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.camvid import CAMVID
from datus2_ray.sources.layouts.datus2 import DATUS2
from datus2_ray.sources.layouts.demo import DEMO
from datus2_ray.sources.layouts.folder import FOLDER
from datus2_ray.sources.layouts.layout import DatasetLayout, Sample
from datus2_ray.sources.layouts.suim import SUIM, SUIM6

__all__ = ["DATASETS", "FOLDER", "DatasetLayout", "Sample", "find"]

_LAYOUTS: tuple[DatasetLayout, ...] = (FOLDER, CAMVID, SUIM, SUIM6, DATUS2, DEMO)
DATASETS: dict[str, DatasetLayout] = {layout.name: layout for layout in _LAYOUTS}


def find(name: str) -> DatasetLayout:
    """Return the layout of a data set; UsageError if the name is unknown."""
    if name not in DATASETS:
        raise UsageError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return DATASETS[name]
