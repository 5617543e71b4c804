"""The rendered demo scenes: 6 classes, written by :mod:`datus2_ray.demo.write`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.sources.layouts.ground_truth import class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About

#: Classes in the order of their ids in the masks, and their colours.
CLASSES = {
    "sky": (112, 184, 240),
    "grass": (140, 200, 60),
    "water": (24, 84, 168),
    "building": (196, 84, 60),
    "tree": (16, 104, 56),
    "animal": (240, 180, 40),
}
PALETTE = np.array(list(CLASSES.values()), np.uint8)


def _read_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    return class_ids(data, height, width, len(CLASSES))


DEMO = LabelledFolders(
    name="demo",
    title="rendered demo scenes",
    splits=(),
    class_names=tuple(CLASSES),
    palette=PALETTE,
    pairs=(Pair("images", "masks", sure=False),),
    read_mask=_read_mask,
    about=About(note="`datus2 demo` renders them"),
)
