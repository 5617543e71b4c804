"""Annotations in a COCO file: polygons, or run lengths, compressed or not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.labels import Labels, unlabelled
from datus2_ray.core.images.regions import void_of
from datus2_ray.core.names.names import NamedClass, free_colour
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.annotations import Annotations, NoAnnotationsError, check_classes

#: What is drawn in an image: the number of a class, None for no class, and a segmentation as in the file, in its order;
#: None for one without area.
Drawn = list[tuple[int | None, Any]]

#: Bits of a compressed run length; an image has fewer pixels, and a number without end would take hours.
MAX_BITS = 60


def read_coco(data: bytes, where: str) -> Annotations:
    """Read a COCO file; raise a UsageError that names it as `where` if it is none."""
    names, drawn = parse_coco(data, where)
    check_classes(names, where)
    classes: list[NamedClass] = []
    for name in names:
        classes.append(NamedClass(name, free_colour(classes)))
    drawn, without_area = split_areas(drawn)
    encoded = {file: json.dumps(found).encode() for file, found in drawn.items()}
    return Annotations(tuple(classes), encoded, DrawCoco(len(classes)), without_area)


def parse_coco(data: bytes, where: str) -> tuple[tuple[str, ...], dict[str, Drawn]]:
    """Return the names of a COCO file's classes, and what is drawn in each image by the name that it has for it.

    Categories of the same name, but for case, are one class.

    Raises
    ------
    UsageError
        If it is no such file, two of its images have one name or id, or two of its categories one id; the message
        names it as `where`.
    """
    try:
        coco = json.loads(data)
        categories = {category["id"]: str(category["name"]).strip() for category in coco["categories"]}
        files = {image["id"]: str(image["file_name"]) for image in coco["images"]}
        drawn: dict[str, Drawn] = {str(image["file_name"]): _size(image) for image in coco["images"]}
        names = {name.casefold(): name for name in reversed(categories.values())}
        places = {name: place for place, name in enumerate(dict.fromkeys(map(str.casefold, categories.values())))}
        order = {number: places[name.casefold()] for number, name in categories.items()}
        for annotation in coco["annotations"]:
            segmentation = annotation.get("segmentation")
            region = None if _is_empty(segmentation) else segmentation
            drawn[files[annotation["image_id"]]].append((order[annotation["category_id"]], region))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise NoAnnotationsError(f"{where} is no COCO file of annotations ({type(error).__name__}: {error})") from error
    for kind, key in (("images", "id"), ("images", "file_name"), ("categories", "id")):
        twice = [value for value, times in Counter(str(entry[key]) for entry in coco[kind]).items() if times > 1]
        if twice:
            raise UsageError(f"{where} has several {kind} of the {key} {twice[0]}; give each its own")
    return tuple(names[place] for place in places), drawn


def _is_empty(segmentation: Any) -> bool:
    """Return whether an annotation is a box or points alone: some programs leave its polygons out, or write none."""
    return segmentation is None or (isinstance(segmentation, list) and all(polygon == [] for polygon in segmentation))


def split_areas(drawn: dict[str, Drawn]) -> tuple[dict[str, Drawn], int]:
    """Return what is drawn in images without the annotations that have no area, and the number of these."""
    kept = {file: [one for one in regions if one[1] is not None] for file, regions in drawn.items()}
    return kept, sum(map(len, drawn.values())) - sum(map(len, kept.values()))


def of_size(height: int, width: int) -> Drawn:
    """Return what draws nothing, and says the size of the image that was drawn in: drawing compares it."""
    return [(None, {"size": [height, width], "counts": [height * width]})]


def _size(image: dict[str, Any]) -> Drawn:
    # Programs that do not know the size leave it out, or write 0.
    height, width = (int(image.get(side) or 0) for side in ("height", "width"))
    return of_size(height, width) if height and width else []


@dataclass(frozen=True)
class DrawCoco:
    """Draws the annotations of an image; later ones lie over earlier ones.

    Of so many `classes`; where none is drawn, the mask is `outside`, or unlabelled.
    """

    classes: int = 0
    outside: int | None = None

    def __call__(self, drawn: bytes, height: int, width: int) -> Labels:
        """Return class ids [height, width]."""
        mask = unlabelled((height, width), self.classes)
        if self.outside is not None:
            mask[:] = self.outside
        for number, segmentation in json.loads(drawn):
            try:
                mask[_region(segmentation, height, width)] = void_of(mask) if number is None else number
            except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                raise ImageError(
                    "mask_format", f"a segmentation is neither polygons nor run lengths: {error}"
                ) from error
        return mask


def _region(segmentation: Any, height: int, width: int) -> NDArray[np.bool_]:
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width)
    if list(segmentation["size"]) != [height, width]:
        size = segmentation["size"]
        raise ImageError("mask_size", f"annotation of {size[1]}x{size[0]} pixels for an image of {width}x{height}")
    counts = segmentation["counts"]
    # Not by pycocotools, whose decoder is C and trusts the counts; nor in 64 bits, in which their sum may overflow.
    counts = _counts(counts) if isinstance(counts, str) else counts
    lengths = [int(length) for length in counts if 0 <= length <= height * width and length % 1 == 0]
    if len(lengths) < len(counts) or sum(lengths) != height * width:
        raise ValueError("the run lengths do not fill the image")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _polygons(polygons: list[Any], height: int, width: int) -> NDArray[np.bool_]:
    from pycocotools import mask as masks

    corners = [np.array(polygon, np.float64) for polygon in polygons]
    for polygon in corners:
        points = polygon.reshape(-1, 2)
        if len(points) < 3 or not ((points >= -1) & (points <= (width + 1, height + 1))).all():
            raise ValueError("a polygon lies outside the image or has fewer than 3 corners")
    merge: Any = masks.merge
    drawn: Any = masks.decode(merge(masks.frPyObjects([polygon.tolist() for polygon in corners], height, width)))
    return np.asarray(drawn, bool)


def _counts(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: 5 bits per character; from the third on, what the last but one lacks."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if shift >= MAX_BITS:
                raise ValueError("a run length has too many digits")
            bits = ord(text[at]) - 48
            value |= (bits & 31) << shift
            more, shift, at = bool(bits & 32), shift + 5, at + 1
            if not more and bits & 16:
                value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
