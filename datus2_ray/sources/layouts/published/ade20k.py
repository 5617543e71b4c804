"""ADE20K: scenes indoors and out, the 150 classes of the MIT scene parsing challenge (Zhou et al. 2017)."""

from __future__ import annotations

import numpy as np

from datus2_ray.sources.layouts.ground_truth import by_id
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.published.classes import colour, read_classes

_ROWS = read_classes("ade20k")

ADE20K = LabelledFolders(
    name="ade20k",
    title="ADE20K, 150 classes",
    splits=("training", "validation"),
    class_names=tuple(row["name"] for row in _ROWS),
    palette=np.array([colour(row) for row in _ROWS], np.uint8),
    pairs=(Pair("images/{split}", "annotations/{split}", ".jpg", (".png",)),),
    # 0 is all that belongs to no class.
    read_mask=by_id({int(row["id"]): number for number, row in enumerate(_ROWS)}),
    about=About(
        home="http://sceneparsing.csail.mit.edu",
        licence="images for non-commercial research and teaching, annotations BSD 3-clause",
        note="`ADEChallengeData2016.zip`; 0 is not scored",
    ),
)
