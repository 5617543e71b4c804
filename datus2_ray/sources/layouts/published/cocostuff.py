"""COCO-Stuff: photographs of COCO 2017 with 171 classes of things and stuff, or the 27 into which they are merged.

The maps of pixels have ids 0 to 181, one less than the published list of labels, and 255 for no class (Caesar et al.
2018). The 27 classes, and the lists of images with much stuff in them, are those of IIC (Ji et al. 2019), which PiCIE,
STEGO and their followers score by.
"""

from __future__ import annotations

from datus2_ray.core.images.classes import voc_colours
from datus2_ray.core.images.palette import palette
from datus2_ray.sources.layouts.ground_truth import by_id
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.published.classes import read_classes, to_palette

_COARSE = (
    "electronic", "appliance", "food", "furniture", "indoor", "kitchen", "accessory", "animal", "outdoor", "person",
    "sports", "vehicle", "ceiling", "floor", "food-stuff", "furniture-stuff", "rawmaterial", "textile", "wall",
    "window", "building", "ground", "plant", "sky", "solid", "structural", "water",
)  # fmt: skip
_ROWS = read_classes("cocostuff")
# Eleven labels of things have no annotations in COCO 2017.
_FINE = [row for row in _ROWS if row["used"] == "yes"]

_CURATED = "curated/{split}2017/Coco164kFull_Stuff_Coarse_7.txt"
_LISTS = (_CURATED, "curated/{split}2017/*.txt")
_UNLISTED = (
    "no list curated/*/Coco164kFull_Stuff_Coarse_7.txt chooses those by which others score (49,629 of train, 2,175 of "
    "val), so that scores do not compare with theirs"
)
#: Images and maps of pixels, as COCO-Stuff, and as others unpack them.
_FOLDERS = (
    ("images/{split}2017", "annotations/{split}2017"),
    ("images/{split}2017", "stuffthingmaps/{split}2017"),
    ("{split}2017", "stuffthingmaps/{split}2017"),
    ("{split}2017", "annotations/{split}2017"),
)
_HOME, _LICENCE = "https://github.com/nightrome/cocostuff", "annotations CC BY 4.0, images under the terms of Flickr"
_FILES = "`train2017.zip`, `val2017.zip`, `stuffthingmaps_trainval2017.zip`"

COCOSTUFF27 = LabelledFolders(
    name="cocostuff27",
    title="COCO-Stuff, 27 classes",
    splits=("train", "val"),
    class_names=_COARSE,
    palette=to_palette(voc_colours(len(_COARSE))),
    pairs=tuple(Pair(*pair, ".jpg", (".png",), lists=_LISTS, unlisted=_UNLISTED) for pair in _FOLDERS),
    read_mask=by_id({int(row["id"]): _COARSE.index(row["coarse"]) for row in _ROWS}),
    about=About(
        home=_HOME,
        licence=_LICENCE,
        note=f"{_FILES}; the lists `{_CURATED.format(split='*')}` of https://github.com/xu-ji/IIC choose the images, "
        "without them all images are used, and the terminal says so",
    ),
)

COCOSTUFF171 = LabelledFolders(
    name="cocostuff171",
    title="COCO-Stuff, 171 classes",
    splits=COCOSTUFF27.splits,
    class_names=tuple(row["name"] for row in _FINE),
    palette=palette(len(_FINE)),
    pairs=tuple(Pair(*pair, ".jpg", (".png",)) for pair in _FOLDERS),
    read_mask=by_id({int(row["id"]): number for number, row in enumerate(_FINE)}),
    about=About(home=_HOME, licence=_LICENCE, note=f"{_FILES}; 255 is not scored"),
)
