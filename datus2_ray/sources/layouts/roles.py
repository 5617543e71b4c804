"""What names say of a file: whether it is an image or a label map, and which image it belongs to.

A key is what remains of a path when the words of both roles are taken out: ``train_images/a.jpg`` and
``train_labels/a_seg.png`` have the key ``train/a``. Letters are compared without case and in one Unicode form.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from datus2_ray.core.images.sniff import IMAGE_SUFFIXES

#: Words that name label maps, alone or beside other words: ``train_labels``, ``a_seg``, ``gtFine``.
_MASK_WORDS = frozenset({
    "mask", "masks", "truemask", "truemasks", "label", "labels", "lbl", "lbls", "labelmap", "labelmaps", "labelid",
    "labelids", "labeltrainids", "labelled", "seg", "segs", "segm", "segmap", "segmaps", "segmask", "segmasks",
    "segmentation", "segmentations", "segmentationclass", "segmentationobject", "annot", "annots", "annotation",
    "annotations", "anno", "annos", "ann", "anns", "gt", "gts", "gtfine", "gtcoarse", "groundtruth", "groundtruths",
    "instance", "instances", "instanceids", "panoptic", "semantic", "semantics", "stuffthingmaps", "trimap",
    "trimaps", "matte", "mattes", "superpixel", "superpixels",
})  # fmt: skip
#: Words that say more beside one of these; alone they say nothing.
_BESIDE = frozenset({
    "class", "classes", "object", "objects", "png", "pngs", "pixel", "map", "maps", "id", "ids", "train",
    "trainids", "fine", "coarse", "color", "colour", "colored", "coloured", "rgb", "bw", "binary", "raw", "aug",
    "true", "ground", "truth", "human", "machine", "visualization", "visualisation", "vis", "viz", "all", "stuff",
    "thing", "things", "new", "original", "combined", "noboundary",
})  # fmt: skip
#: Words that name images.
_IMAGE_WORDS = frozenset({
    "image", "images", "img", "imgs", "jpegimages", "jpeg", "jpegs", "jpg", "jpgs", "leftimg8bit", "photo",
    "photos", "picture", "pictures", "rgb", "input", "inputs",
})  # fmt: skip
#: Words after which no class ids come: of two label maps of an image the other is the ground truth.
_LESSER = re.compile(r"instance|object|panoptic|color|colour|vis|superpixel|trimap|matte|coarse|part")

#: What every word that names label maps has in it.
_HINT = re.compile(r"mask|lab|lbl|seg|ann|gt|truth|instance|panoptic|semantic|stuff|trimap|matte|pixel|[_\-. ]l[_\-. ]")
_WORDS_HINT = re.compile(_HINT.pattern + "|im|jp|photo|pic|rgb|inp")
_PLAIN = re.compile("[a-z0-9]+(?:_[a-z0-9]+)*")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SPLIT = re.compile(r"[_\-. ()]+")
_GLUED = re.compile(r"\b(train|val|valid|validation|test)(annots?|masks?|labels?|segs?|gts?)\b")
#: `mask0`, `img12`: a role and a number.
_NUMBERED = re.compile(r"\b(im|img|imgs|image|images|photo|mask|masks|label|labels|seg|gt)(\d+)\b")
_NAMES = {"left_img8bit": "leftimg8bit", "label_train_ids": "labeltrainids", "ground_truth": "groundtruth"}
_AT_END = _MASK_WORDS | _BESIDE | {"l"}


@dataclass(frozen=True)
class Role:
    """What a part of a path says: `word` is the part itself where it names label maps, `rest` what else it says."""

    word: str | None
    image: bool
    rest: str


def fold(text: str) -> str:
    """Return a name without case and in one Unicode form."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


@lru_cache(maxsize=1 << 16)
def folder_role(name: str) -> Role:
    """Return what a folder's name says."""
    tokens = _tokens(name)
    if any(token in _MASK_WORDS for token in tokens):
        rest = [t for t in tokens if t not in _MASK_WORDS and (t not in _BESIDE or t == "train")]
        # `labelTrainIds` is one word by now: a `train` that is left is a split.
        return Role(fold(name), False, "_".join(rest))
    rest = [token for token in tokens if token not in _IMAGE_WORDS and token not in ("png", "pngs")]
    if len(rest) < len(tokens) and any(token in _IMAGE_WORDS for token in tokens):
        return Role(None, True, "_".join(rest))
    return Role(None, False, "_".join(tokens))


def stem_role(stem: str) -> Role:
    """Return what the name of a file without suffix says: words of label maps count at its end or its beginning."""
    # Most names of many files are numbers.
    if _PLAIN.fullmatch(stem) and not _WORDS_HINT.search(stem):
        return Role(None, False, stem)
    tokens = _tokens(stem)
    first, last = 0, len(tokens)
    while last > 0 and tokens[last - 1] in _AT_END:
        last -= 1
    if any(token in _MASK_WORDS or (token == "l" and last) for token in tokens[last:]):
        return Role("_" + "_".join(tokens[last:]), False, _without_images(tokens[:last]))
    if tokens and tokens[0] in _MASK_WORDS:
        while tokens[first] in _MASK_WORDS | _BESIDE:
            first += 1
        return Role("_".join(tokens[:first]) + "_", False, _without_images(tokens[first:]))
    return Role(None, any(token in _IMAGE_WORDS for token in tokens), _without_images(tokens))


def _without_images(tokens: list[str]) -> str:
    return "_".join(token for token in tokens if token not in _IMAGE_WORDS)


def may_name_mask(path: str) -> bool:
    """Return whether a path may have a word that names label maps; a quick look before it is taken apart."""
    return _HINT.search(path.lower()) is not None


def is_lesser(path: str) -> bool:
    """Return whether a label map's name says that it has instances or is made to be looked at."""
    return _LESSER.search(path.lower()) is not None


def split_path(path: str) -> tuple[str, str, str]:
    """Return folder, stem and suffix; an image's suffix within the stem (``a.jpg.png``) is left out."""
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return folder, name, ""
    inner, _, last = stem.rpartition(".")
    return folder, inner if inner and f".{last.lower()}" in IMAGE_SUFFIXES else stem, f".{suffix.lower()}"


def _tokens(name: str) -> list[str]:
    text = fold(_CAMEL.sub("_", name))
    for several, one in _NAMES.items():
        text = text.replace(several, one)
    text = _NUMBERED.sub(r"\1_\2", _GLUED.sub(r"\1_\2", text))
    return [token for token in _SPLIT.split(text) if token]
