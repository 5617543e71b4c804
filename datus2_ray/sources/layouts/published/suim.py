"""SUIM: underwater images, 8 classes (Islam et al. 2020), and the 6 classes into which DatUS² merges them.

A mask is an RGB image; each channel is one bit of the class. The published masks have three faults: border pixels off
the palette, 37 masks that are 55 rows taller than their image, and masks of another size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.decode import decode
from datus2_ray.sources.layouts.ground_truth import check_size, reading_mask
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About

# The image is the top of such a mask, as overlays show.
_SURPLUS_ROWS = 55

# The index of a class is its code: red bit, green bit, blue bit.
_CLASSES = (
    "water",
    "human diver",
    "aquatic plants and sea-grass",
    "wrecks and ruins",
    "robots",
    "reefs and invertebrates",
    "fish and vertebrates",
    "sea-floor and rocks",
)
_PALETTE = np.array([[code >> 2 & 1, code >> 1 & 1, code & 1] for code in range(8)], np.uint8) * np.uint8(255)

_CLASSES_6 = (*(_CLASSES[code] for code in (1, 4, 6, 5, 3)), "background")
_PALETTE_6 = _PALETTE[[1, 4, 6, 5, 3, 0]]
_TO_6 = np.array([5, 0, 5, 4, 1, 3, 2, 5], np.uint8)


def _read_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    with reading_mask():
        colours = decode(data)
    if colours.shape[:2] == (height + _SURPLUS_ROWS, width):
        colours = colours[:height]
    check_size(colours.shape, height, width)
    bits = (colours > 127).astype(np.uint8)
    return bits[:, :, 0] * np.uint8(4) + bits[:, :, 1] * np.uint8(2) + bits[:, :, 2]


def _read_mask_6(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    return _TO_6[_read_mask(data, height, width)]


SUIM = LabelledFolders(
    name="suim",
    title="SUIM, 8 classes",
    splits=("train_val", "TEST"),
    class_names=_CLASSES,
    palette=_PALETTE,
    pairs=(Pair("{split}/images", "{split}/masks"), Pair("images", "masks", sure=False)),
    read_mask=_read_mask,
    about=About(
        home="https://irvlab.cs.umn.edu/resources/suim-dataset",
        licence="see its page",
        note="folders of masks of single classes (`masks/FV/`, …) are passed over",
    ),
)

SUIM6 = LabelledFolders(
    name="suim6",
    title="SUIM, the 6 classes of DatUS²",
    splits=SUIM.splits,
    class_names=_CLASSES_6,
    palette=_PALETTE_6,
    pairs=SUIM.pairs,
    read_mask=_read_mask_6,
    about=SUIM.about,
)
