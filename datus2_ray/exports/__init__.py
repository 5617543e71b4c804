"""Formats of labelled images, one file each: class masks in, bytes out; no Ray, no run folder."""

from __future__ import annotations

from datus2_ray.exports.coco import Coco
from datus2_ray.exports.coco_panoptic import CocoPanoptic
from datus2_ray.exports.cvat import Cvat
from datus2_ray.exports.format import Format
from datus2_ray.exports.geojson import GeoJson
from datus2_ray.exports.hf import HuggingFace
from datus2_ray.exports.label_studio import LabelStudio
from datus2_ray.exports.png import Png
from datus2_ray.exports.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    "png": Png,
    "coco": Coco,
    "coco-panoptic": CocoPanoptic,
    "cvat": Cvat,
    "label-studio": LabelStudio,
    "yolo": Yolo,
    "hf": HuggingFace,
    "geojson": GeoJson,
}
