"""Read exports by programs of others, in a process with their packages: ``python foreign.py EXPORTS OUT.npz``.

EXPORTS has a folder for each format and, with instances, FORMAT-instances, and with many classes, FORMAT-many. What is
read back are class masks ("FORMAT/ID", uint16, 65535 = none), and numbers of objects ("FORMAT-instances/ID/objects");
what the formats promise is asserted on the way.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image

#: Class of pixels that have none.
VOID = 65535

Read = Iterator[tuple[str, np.ndarray]]


def stem(file: str) -> str:
    return file.rpartition(".")[0]


def read_coco(folder: Path) -> Read:
    """By hotcoco, which is no port of pycocotools."""
    import hotcoco

    for file in sorted((folder / "annotations").glob("*.json")):
        coco = hotcoco.COCO(str(file))
        ids = [annotation["id"] for annotation in json.loads(file.read_text())["annotations"]]
        assert len(set(ids)) == len(ids)
        for image in coco.loadImgs(coco.getImgIds()):
            mask = np.full((image["height"], image["width"]), VOID, np.uint16)
            objects = np.zeros(mask.shape, np.uint16)
            for number, annotation in enumerate(coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])), 1):
                region = coco.annToMask(annotation).astype(bool)
                assert (mask[region] == VOID).all()
                assert annotation["area"] == region.sum()
                assert list(annotation["bbox"]) == list(hotcoco.mask.toBbox(coco.annToRLE(annotation)))
                mask[region], objects[region] = annotation["category_id"] - 1, number
            yield stem(image["file_name"]), mask
            yield f"{stem(image['file_name'])}/objects", objects


def read_coco_panoptic(folder: Path) -> Read:
    """By the rules of panopticapi: rgb2id, every id described, every description of an id that is there."""
    for file in sorted((folder / "annotations").glob("*.json")):
        coco = json.loads(file.read_text())
        images = {image["id"]: image for image in coco["images"]}
        categories = {category["id"]: category for category in coco["categories"]}
        for annotation in coco["annotations"]:
            colours = np.asarray(Image.open(file.with_suffix("") / annotation["file_name"]), np.uint32)
            numbers = colours[:, :, 0] + 256 * colours[:, :, 1] + 256**2 * colours[:, :, 2]
            image = images[annotation["image_id"]]
            assert numbers.shape == (image["height"], image["width"])
            assert set(np.unique(numbers)) - {0} == {segment["id"] for segment in annotation["segments_info"]}
            mask = np.full(numbers.shape, VOID, np.uint16)
            for segment in annotation["segments_info"]:
                region = numbers == segment["id"]
                assert segment["area"] == region.sum()
                assert tuple(segment["bbox"]) == cv2.boundingRect(region.astype(np.uint8))
                assert categories[segment["category_id"]]["isthing"] in (0, 1)
                mask[region] = segment["category_id"] - 1
            yield stem(image["file_name"]), mask
            yield f"{stem(image['file_name'])}/objects", numbers.astype(np.uint16)


def read_cvat(folder: Path) -> Read:
    """By Datumaro, CVAT's own reader."""
    import datumaro

    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(folder / "annotations.zip") as file:
            assert file.testzip() is None
            file.extractall(unpacked)
        names = [line.split(":")[0] for line in (Path(unpacked) / "labelmap.txt").read_text().splitlines()]
        assert names[0] == "background"
        for item in datumaro.Dataset.import_from(unpacked, "voc_segmentation"):
            annotations = [each for each in item.annotations if each.label not in (None, 0)]
            shape = np.asarray(Image.open(Path(unpacked) / "SegmentationClass" / f"{item.id}.png")).shape[:2]
            mask, objects = np.full(shape, VOID, np.uint16), np.zeros(shape, np.uint16)
            for number, annotation in enumerate(annotations, 1):
                region = annotation.image.astype(bool)
                assert (mask[region] == VOID).all()
                mask[region], objects[region] = annotation.label - 1, number
            yield item.id, mask
            yield f"{item.id}/objects", objects


def read_label_studio(folder: Path) -> Read:
    """By the decoder of label-studio-sdk, without the package around it, which has many dependencies."""
    found = importlib.util.find_spec("label_studio_sdk")
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location("brush", Path(found.origin).parent / "converter" / "brush.py")
    assert spec is not None
    assert spec.loader is not None
    brush: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(brush)
    import lxml.etree

    labels = lxml.etree.parse(folder / "labels.xml").findall("BrushLabels/Label")
    names = [label.get("value") for label in labels]
    for file in sorted(folder.glob("*.json")):
        for task in json.loads(file.read_text()):
            (prediction,) = task["predictions"]
            mask, objects = None, np.zeros(0)
            for number, result in enumerate(prediction["result"], 1):
                shape = (result["original_height"], result["original_width"])
                if mask is None:
                    mask, objects = np.full(shape, VOID, np.uint16), np.zeros(shape, np.uint16)
                pixels = np.reshape(brush.decode_rle(result["value"]["rle"]), (*shape, 4))
                assert (pixels == pixels[:, :, :1]).all()
                (name,) = result["value"]["brushlabels"]
                region = pixels[:, :, 3] == 255
                mask[region], objects[region] = names.index(name), number
            image_id = stem(task["data"]["image"].removeprefix("s3://bucket/"))
            if mask is not None:
                yield image_id, mask
                yield f"{image_id}/objects", objects


def read_yolo(folder: Path) -> Read:
    """As Ultralytics: the labels of an image beside it, corners cut to whole pixels, polygons filled by OpenCV."""
    data = yaml.safe_load((folder / "data.yaml").read_text())
    splits = {place for name, place in data.items() if name != "names"}
    for file in sorted(path for place in splits for path in (folder / place).rglob("*.png")):
        height, width = np.asarray(Image.open(file)).shape[:2]
        labels = Path(f"{'/labels/'.join(str(file).rsplit('/images/', 1))}").with_suffix(".txt")
        mask, objects = np.full((height, width), VOID, np.uint16), np.zeros((height, width), np.uint16)
        for number, line in enumerate(labels.read_text().splitlines(), 1):
            name, *numbers = line.split(" ")
            corners = np.array([float(value) for value in numbers]).reshape(-1, 2)
            assert len(corners) >= 3
            assert corners.min() >= 0
            assert corners.max() <= 1
            assert int(name) in data["names"]
            filled = np.zeros(mask.shape, np.uint8)
            cv2.fillPoly(filled, [(corners * (width, height)).astype(np.int32)], 1)
            assert (mask[filled > 0] == VOID).all()
            mask[filled > 0], objects[filled > 0] = int(name), number
        image_id = stem("/".join(file.relative_to(folder / "images").parts[1:]))
        yield image_id, mask
        yield f"{image_id}/objects", objects


def read_hf(folder: Path) -> Read:
    """By datasets."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        loaded = datasets.load_dataset(str(folder), cache_dir=cache)
        for rows in loaded.values():
            assert isinstance(rows.features["image"], datasets.Image)
            for row in rows:
                assert row["image"].size == row["mask"].size
                mask = np.asarray(row["mask"])
                void = 255 if mask.dtype == np.uint8 else VOID
                yield row["image_id"], np.where(mask == void, VOID, mask.astype(np.uint16))


def read_png(folder: Path) -> Read:
    """By OpenCV, which reads the colours, and by the legend, which says whose they are."""
    import lxml.etree

    legend = lxml.etree.parse(folder / "legend.svg").getroot()
    rectangles = legend.findall("{http://www.w3.org/2000/svg}rect")[1:]
    colours = [tuple(bytes.fromhex(rectangle.get("fill")[1:])) for rectangle in rectangles]
    assert len(colours) == len((folder / "labels.txt").read_text().splitlines())
    for file in sorted((folder / "masks").rglob("*.png")):
        mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if mask.dtype != np.uint16:
            read = cv2.imread(str(file), cv2.IMREAD_COLOR)[:, :, ::-1]
            mask = np.full(read.shape[:2], VOID, np.uint16)
            for number, colour in enumerate(colours):
                mask[(read == colour).all(axis=2)] = number
        yield stem(file.relative_to(folder / "masks").as_posix()), mask


READERS: dict[str, Callable[[Path], Read]] = {
    "png": read_png,
    "coco": read_coco,
    "coco-panoptic": read_coco_panoptic,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "yolo": read_yolo,
    "hf": read_hf,
}

if __name__ == "__main__":
    exports, out = Path(sys.argv[1]), sys.argv[2]
    found = {
        f"{folder.name}/{name}": read
        for folder in sorted(exports.iterdir())
        if (reader := READERS.get(folder.name.removesuffix("-instances").removesuffix("-many")))
        for name, read in reader(folder)
    }
    np.savez(out, **found)
