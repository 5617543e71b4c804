"""Potsdam: aerial images of a city at 5 cm per pixel, 6 classes, or the 3 into which IIC merged them (ISPRS; Ji 2019).

The originals are 38 pictures of 6,000 by 6,000 pixels. IIC halved them and cut each into 15 by 15 pieces of 200 pixels,
which are the images that others score by. Windows of 400 pixels of an original are the same pieces, not halved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datus2_ray.core.images.opening import reading
from datus2_ray.errors import ImageError
from datus2_ray.sources.layouts.ground_truth import by_colour, check_size, reading_mask
from datus2_ray.sources.layouts.labelled_folders import LabelledFolders, Pair
from datus2_ray.sources.layouts.layout import About

#: Side of the windows of the originals in pixels.
TILE = 400

_CLASSES = {
    "roads": (255, 255, 255),
    "buildings": (0, 0, 255),
    "low vegetation": (0, 255, 255),
    "trees": (0, 255, 0),
    "cars": (255, 255, 0),
    "clutter": (255, 0, 0),
}
_TO_3 = (0, 1, 2, 2, 0, 1)

_PIECES = Pair(
    "imgs",
    "gt",
    ".mat",
    (".mat",),
    lists=("{split}.txt",),
    unlisted="no lists labelled_train.txt, labelled_test.txt and unlabelled_train.txt make splits of them",
)
_ORIGINALS = tuple(
    Pair("2_Ortho_RGB", folder, "_RGB.tif", (end,))
    for folder, end in (
        ("5_Labels_all", "_label.tif"),
        ("5_Labels_for_participants", "_label.tif"),
        ("5_Labels_all_noBoundary", "_label_noBoundary.tif"),
    )
)


def _read_array(data: bytes, name: str) -> NDArray[np.uint8]:
    """Return an array of a MATLAB file; its numbers are 0 to 255."""
    from scipy.io import loadmat

    with reading():
        array = loadmat(BytesIO(data), variable_names=[name]).get(name)
    if array is None or array.dtype.kind not in "iu" or array.size == 0 or not 0 <= array.min() <= array.max() <= 255:
        raise ImageError("unreadable", f"the MATLAB file has no array {name!r} of whole numbers from 0 to 255")
    return np.ascontiguousarray(array, np.uint8)


def _read_image(data: bytes) -> bytes:
    if not data.startswith(b"MATLAB"):
        return data
    pixels = _read_array(data, "img")
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ImageError("unreadable", f"the array 'img' has the shape {pixels.shape}, not height, width and bands")
    file = BytesIO()
    # The fourth band is infrared.
    Image.fromarray(np.ascontiguousarray(pixels[:, :, :3])).save(file, "PNG")
    return file.getvalue()


def _potsdam(
    name: str, title: str, classes: Mapping[str, tuple[int, int, int]], merged: Sequence[int]
) -> LabelledFolders:
    table = np.append(np.array(merged, np.uint8), np.full(256 - len(merged), 255, np.uint8))
    of_colours = by_colour(dict(zip(_CLASSES.values(), merged, strict=True)))

    def read_mask(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
        if not data.startswith(b"MATLAB"):
            return of_colours(data, height, width)
        with reading_mask():
            ids = _read_array(data, "gt")
        check_size(ids.shape, height, width)
        return table[ids]

    return LabelledFolders(
        name=name,
        title=title,
        splits=("labelled_train", "labelled_test", "unlabelled_train"),
        class_names=tuple(classes),
        palette=np.array(list(classes.values()), np.uint8),
        pairs=(_PIECES, *_ORIGINALS),
        read_mask=read_mask,
        read_image=_read_image,
        tile=TILE,
        about=About(
            home="https://www.isprs.org/education/benchmarks/UrbanSemLab",
            licence="research, on request",
            note=f"an original is cut into windows of {TILE} pixels, each an image; pieces of 200 pixels as "
            "https://github.com/xu-ji/IIC cuts them have the lists of the splits",
        ),
    )


POTSDAM6 = _potsdam("potsdam6", "Potsdam, 6 classes", _CLASSES, range(6))
POTSDAM3 = _potsdam(
    "potsdam3",
    "Potsdam, 3 classes",
    {
        "roads and cars": _CLASSES["roads"],
        "buildings and clutter": _CLASSES["buildings"],
        "vegetation and trees": _CLASSES["trees"],
    },
    _TO_3,
)
