"""CamVid: street scenes from a moving car, 11 classes (Brostow, Fauqueur, Cipolla 2009; classes of SegNet, 2015)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.sources.layouts.ground_truth import class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders

_CLASSES = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def _read_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    # The masks hold 0..10, and 11 for void.
    return class_ids(data, height, width, len(_CLASSES))


CAMVID = LabelledFolders(
    name="camvid",
    title="CamVid",
    splits=("train", "val", "test"),
    class_names=tuple(_CLASSES),
    palette=np.array(list(_CLASSES.values()), np.uint8),
    # SegNet's repository keeps the frames right below the split, the masks in a folder named after it.
    split_folders=(("{split}/images", "{split}/masks"), ("{split}", "{split}annot")),
    folders=("images", "masks"),
    read_mask=_read_mask,
)
