"""The layout of the authors' own experiments: ``{train,val}/{images,true_masks}``, classes found in the masks."""

from __future__ import annotations

from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About

DATUS2 = LabelledFolders(
    name="datus2",
    title="DatUS² layout",
    splits=("train", "val"),
    class_names=None,
    palette=None,
    pairs=(Pair("{split}/images", "{split}/true_masks"), Pair("images", "true_masks", sure=False)),
    read_mask=None,
    about=About(note="classes are the ids in the masks"),
)
