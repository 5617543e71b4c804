"""LabelMe's JSON files as ground truth: polygons, rectangles, circles and masks of one image each."""

from __future__ import annotations

import base64
import json
import posixpath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.images.regions import Region
from datus2_ray.core.images.sniff import IMAGE_SUFFIXES
from datus2_ray.errors import ImageError
from datus2_ray.exports.annotations import NoAnnotationsError
from datus2_ray.exports.from_coco import Drawn, of_size
from datus2_ray.sources.layouts.annotated import AnnotatedFolder
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.tree import Tree

#: Corners of the polygon that is drawn for a circle.
CORNERS = 64

#: Shapes that have no area, and are no region of a class.
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def parse_labelme(data: bytes, where: str) -> tuple[tuple[str, ...], dict[str, Drawn]]:
    """Return the labels in a file of LabelMe, and what is drawn in its image as a COCO file has it.

    Raises
    ------
    UsageError
        If it is no such file; the message names it as `where`.
    """
    try:
        file = json.loads(data)
        height, width = int(file["imageHeight"]), int(file["imageWidth"])
        labels: dict[str, int] = {}
        drawn = of_size(height, width)
        for shape in file["shapes"]:
            kind = shape.get("shape_type") or "polygon"
            if kind not in _WITHOUT_AREA:
                number = labels.setdefault(str(shape["label"]).strip(), len(labels))
                drawn.append((number, _segmentation(kind, shape, height, width)))
        name = str(file["imagePath"])
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, ImageError) as error:
        raise NoAnnotationsError(f"{where} is no file of LabelMe ({type(error).__name__}: {error})") from error
    return tuple(labels) or ("background",), {name: drawn}


def _segmentation(kind: str, shape: dict[str, Any], height: int, width: int) -> Any:
    corners = np.array(shape["points"], np.float64).reshape(-1, 2)
    if kind == "rectangle":
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        centre, edge = corners
        angles = np.arange(CORNERS) * (2 * np.pi / CORNERS)
        corners = centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    elif kind == "mask":
        return _run_lengths(base64.b64decode(shape["mask"]), corners, (height, width))
    return [np.clip(corners, 0, (width, height)).ravel().tolist()]


def _run_lengths(mask: bytes, corners: NDArray[np.float64], shape: tuple[int, int]) -> dict[str, Any]:
    """Return the run lengths of a mask that is a PNG of the box around it."""
    left, top = (max(0, round(float(value))) for value in corners[0])
    pixels = decode_labels(mask)[: shape[0] - top, : shape[1] - left] > 0
    return {"size": list(shape), "counts": Region(0, top, left, pixels, shape).run_lengths(by_column=True).tolist()}


def _is_named(tree: Tree) -> bool:
    """Return whether most JSON files have the names of images beside them."""
    json_stems = {path[: -len(".json")] for path in tree.files if path.endswith(".json")}
    if not json_stems:
        return False
    stems = {stem for stem, suffix in map(posixpath.splitext, tree.files) if suffix.lower() in IMAGE_SUFFIXES}
    return 2 * len(json_stems & stems) > len(json_stems)


LABELME = AnnotatedFolder(
    name="labelme",
    title="LabelMe annotations",
    folders=("images, each with a JSON file of LabelMe that is named like it",),
    about=About(
        home="https://github.com/wkentaro/labelme",
        note="classes are the labels, and background where nothing is drawn (`--ignore-id 0` leaves it out); "
        "`__ignore__` is not scored",
    ),
    parse=parse_labelme,
    is_named=_is_named,
    beside=True,
)
