"""COCO files of annotations as ground truth: polygons, or run lengths, compressed or not."""

from __future__ import annotations

import re

from datus2_ray.exports.from_coco import parse_coco
from datus2_ray.sources.layouts.annotated import AnnotatedFolder
from datus2_ray.sources.layouts.layout import About
from datus2_ray.sources.layouts.tree import Tree

# COCO's own, and those of Roboflow.
_NAMED = re.compile(r"(^|/)(instances_[^/]+|_annotations\.coco)\.json$")


def _is_named(tree: Tree) -> bool:
    return any(path.endswith(".json") and _NAMED.search(path) for path in tree.files)


COCO = AnnotatedFolder(
    name="coco",
    title="COCO annotations",
    folders=("images and a COCO file that names them, such as annotations/instances_val2017.json",),
    about=About(
        home="https://cocodataset.org/#format-data",
        note="classes are the file's categories, and background where nothing is drawn (`--ignore-id 0` leaves it "
        "out); of several files `--masks` chooses",
    ),
    parse=parse_coco,
    is_named=_is_named,
)
