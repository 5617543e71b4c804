"""All known data sets by name, and those that a source looks like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts.coco import COCO
from datus2_ray.sources.layouts.datus2 import DATUS2
from datus2_ray.sources.layouts.demo import DEMO
from datus2_ray.sources.layouts.folder import FOLDER
from datus2_ray.sources.layouts.labelme import LABELME
from datus2_ray.sources.layouts.layout import DatasetLayout
from datus2_ray.sources.layouts.published import PUBLISHED
from datus2_ray.sources.layouts.tree import Tree

__all__ = ["DATASETS", "FOLDER", "find", "recognise"]

_LAYOUTS: tuple[DatasetLayout, ...] = (FOLDER, *PUBLISHED, COCO, LABELME, DATUS2, DEMO)
DATASETS: dict[str, DatasetLayout] = {layout.name: layout for layout in _LAYOUTS}


def find(name: str) -> DatasetLayout:
    """Return the layout of a data set; UsageError if the name is unknown."""
    if name not in DATASETS:
        raise UsageError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return DATASETS[name]


def recognise(files: Sequence[str]) -> list[str]:
    """Return a line per data set that the files of a source are those of, with the names that read its classes."""
    tree, names = Tree(files), defaultdict[str, list[str]](list)
    for layout in _LAYOUTS:
        if layout.recognises(tree):
            # One set may be read with several sets of classes.
            names[layout.title.partition(",")[0]].append(layout.name)
    return [
        f"this looks like {title}: --dataset {' or '.join(known)} reads its classes" for title, known in names.items()
    ]
