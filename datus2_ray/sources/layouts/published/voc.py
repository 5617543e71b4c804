"""Pascal VOC 2012: objects of 20 classes and background; lists of names make the splits (Everingham et al. 2010)."""

from __future__ import annotations

from functools import partial

from datus2_ray.core.images.classes import VOC_COLOURS
from datus2_ray.sources.layouts.ground_truth import class_ids
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.published.classes import to_palette

_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

VOC = LabelledFolders(
    name="voc",
    title="Pascal VOC 2012, 21 classes",
    splits=("train", "val", "trainval"),
    class_names=_CLASSES,
    palette=to_palette(VOC_COLOURS),
    pairs=(
        Pair(
            "JPEGImages",
            "SegmentationClass",
            ".jpg",
            (".png",),
            lists=("ImageSets/Segmentation/{split}.txt",),
            unlisted="no list ImageSets/Segmentation/*.txt says which of them are annotated",
        ),
    ),
    # Palette PNG: the indices are the ids; the border around objects, 255, is not scored.
    read_mask=partial(class_ids, classes=len(_CLASSES)),
    about=About(
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
        licence="images under the terms of Flickr, research",
        note="`VOCtrainval_11-May-2012.tar`; 255 is not scored; without `--split`: train and val",
    ),
)
