"""yolo: where images and their labels lie, whatever images are called."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from datus2_ray.core.names.names import NamedClass
from datus2_ray.exports.format import LabelledImage
from datus2_ray.exports.yolo import Yolo

TARGET = Yolo((NamedClass("sky", "#0000ff"),), ("train",))


def picture(kind: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 3)).save(file, format=kind)
    return file.getvalue()


IMAGE = LabelledImage("", "train", "", np.zeros((3, 4), np.uint8), picture("PNG"))


@pytest.mark.parametrize(
    ("image_id", "file", "kind", "expected"),
    [
        ("a", "a.png", "PNG", ["images/train/a.png", "labels/train/a.txt"]),
        ("v1.0/a.b", "v1.0/a.b.JPG", "JPEG", ["images/train/v1.0/a.b.JPG", "labels/train/v1.0/a.b.txt"]),
        # Without a suffix the image's own bytes say what it is.
        ("IMG0001", "IMG0001", "JPEG", ["images/train/IMG0001.jpg", "labels/train/IMG0001.txt"]),
        ("v1.0/IMG3", "v1.0/IMG3", "PNG", ["images/train/v1.0/IMG3.png", "labels/train/v1.0/IMG3.txt"]),
        ("scan.0001", "scan.0001", "PNG", ["images/train/scan.0001.png", "labels/train/scan.0001.txt"]),
        # Ultralytics looks beside the last folder of this name.
        ("x/images/a", "x/images/a.png", "PNG", ["images/train/x/images/a.png", "images/train/x/labels/a.txt"]),
    ],
)
def test_labels_lie_where_ultralytics_looks_for_them(image_id: str, file: str, kind: str, expected: list[str]) -> None:
    written = TARGET.encode(replace(IMAGE, image_id=image_id, file=file, image=picture(kind)))
    assert list(written.files) == expected
    # As its own code finds the labels of an image.
    before, _, after = f"/{expected[0]}".rpartition("/images/")
    assert f"{before}/labels/{after}".rsplit(".", 1)[0] + ".txt" == f"/{expected[1]}"
