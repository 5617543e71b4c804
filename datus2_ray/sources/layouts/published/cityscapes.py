"""Cityscapes: street scenes of 50 cities, 27 classes, or the 19 of them that are evaluated (Cordts et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from datus2_ray.sources.layouts.ground_truth import by_id, class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.published.classes import Row, colour, read_classes

_ROWS = read_classes("cityscapes")
_EVALUATED = [row for row in _ROWS if row["train_id"]]
_IDS, _TRAIN_IDS = "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
_ABOUT = About(
    home="https://www.cityscapes-dataset.com",
    licence="non-commercial research and teaching, after registration",
    note="`leftImg8bit_trainvaltest.zip` and `gtFine_trainvaltest.zip`; the masks of test have no classes",
)


def _cityscapes(name: str, title: str, rows: Sequence[Row], ends: tuple[str, ...]) -> LabelledFolders:
    return LabelledFolders(
        name=name,
        title=title,
        splits=("train", "val", "test"),
        class_names=tuple(row["name"] for row in rows),
        palette=np.array([colour(row) for row in rows], np.uint8),
        pairs=(Pair("leftImg8bit/{split}", "gtFine/{split}", "_leftImg8bit.png", ends, deeper="CITY/"),),
        read_mask=by_id({int(row["id"]): number for number, row in enumerate(rows)}),
        # The evaluated classes are numbered in the order of their ids.
        read_others={_TRAIN_IDS.lower(): partial(class_ids, classes=len(_EVALUATED))},
        about=_ABOUT,
    )


CITYSCAPES27 = _cityscapes("cityscapes27", "Cityscapes, 27 classes", _ROWS, (_IDS,))
CITYSCAPES19 = _cityscapes("cityscapes19", "Cityscapes, the 19 evaluated classes", _EVALUATED, (_IDS, _TRAIN_IDS))
