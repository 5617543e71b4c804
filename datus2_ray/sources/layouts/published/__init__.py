"""The data sets that the field publishes, one file each; their classes are in CSV files beside."""

from __future__ import annotations

from datus2_ray.sources.layouts.labelled_folders import LabelledFolders
from datus2_ray.sources.layouts.published.ade20k import ADE20K
from datus2_ray.sources.layouts.published.camvid import CAMVID
from datus2_ray.sources.layouts.published.cityscapes import CITYSCAPES19, CITYSCAPES27
from datus2_ray.sources.layouts.published.cocostuff import COCOSTUFF27, COCOSTUFF171
from datus2_ray.sources.layouts.published.potsdam import POTSDAM3, POTSDAM6
from datus2_ray.sources.layouts.published.suim import SUIM, SUIM6
from datus2_ray.sources.layouts.published.voc import VOC

PUBLISHED: tuple[LabelledFolders, ...] = (
    SUIM,
    SUIM6,
    CAMVID,
    CITYSCAPES27,
    CITYSCAPES19,
    COCOSTUFF27,
    COCOSTUFF171,
    VOC,
    ADE20K,
    POTSDAM3,
    POTSDAM6,
)
