"""The layout of the authors' own experiments: ``{train,val}/{images,true_masks}``, classes found in the masks."""

from __future__ import annotations

from datus2_ray.sources.layouts.labelled_folders import LabelledFolders

DATUS2 = LabelledFolders(
    name="datus2",
    title="DatUS² layout",
    splits=("train", "val"),
    class_names=None,
    palette=None,
    split_folders=(("{split}/images", "{split}/true_masks"),),
    folders=("images", "true_masks"),
    read_mask=None,
)
