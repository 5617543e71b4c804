"""Annotations of others: drawn as pycocotools draws them, and refused where they cannot be drawn."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as masks

from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports import FORMATS
from datus2_ray.exports.annotations import match
from datus2_ray.exports.from_coco import read_coco
from datus2_ray.exports.from_cvat import read_cvat
from tests.exports.test_formats import CLASSES, MANY, MANY_PICTURES, PICTURES, written

VOID = 255


def coco(*segmentations: Any, height: int = 6, width: int = 8) -> dict[str, Any]:
    annotations = [
        {"id": i, "image_id": 5, "category_id": 30 + i % 2, "segmentation": s} for i, s in enumerate(segmentations)
    ]
    return {
        "images": [{"id": 5, "file_name": "x/a.jpg", "width": width, "height": height}],
        "categories": [{"id": 30, "name": " road"}, {"id": 31, "name": "tree"}],
        "annotations": annotations,
    }


def drawn(*segmentations: Any, height: int = 6, width: int = 8) -> np.ndarray:
    read = read_coco(json.dumps(coco(*segmentations, height=height, width=width)).encode(), "FILE")
    return read.draw(read.images["x/a.jpg"], height, width)


regions = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


@given(region=regions)
def test_run_lengths_are_drawn_whether_they_are_compressed_or_not(region: np.ndarray) -> None:
    encoded = masks.encode(np.asfortranarray(region))
    text = {"size": list(region.shape), "counts": encoded["counts"].decode()}
    flat = region.T.reshape(-1)
    borders = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    lengths = np.diff([0, *borders, len(flat)]).tolist()
    for segmentation in (text, {**text, "counts": lengths}):
        found = drawn(segmentation, height=region.shape[0], width=region.shape[1])
        np.testing.assert_array_equal(found == 0, region == 1)


def test_polygons_are_drawn_as_pycocotools_draws_them_and_later_ones_lie_over_earlier_ones() -> None:
    first, second = [[0, 0, 8, 0, 8, 6, 0, 6]], [[1, 1, 4, 1, 4, 4], [5, 1, 7, 1, 7, 5, 5, 5]]
    parts = masks.decode(masks.merge(masks.frPyObjects(second, 6, 8)))
    np.testing.assert_array_equal(drawn(first, second), parts)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [6, 8], "counts": [1, 2]},
        {"size": [6, 8], "counts": [50, -2]},
        # Their sum is 48 where it wraps around at 64 bits.
        {"size": [6, 8], "counts": [2**63 - 1, 2**63 - 1, 50]},
        {"size": [6, 8], "counts": [2**70]},
        {"size": [6, 8], "counts": [1e300]},
        {"size": [6, 8], "counts": [float("inf")]},
        {"size": [6, 8], "counts": [24.5, 23.5]},
        {"size": [6, 8], "counts": "P" * 100 + "0"},
        {"size": [6, 8], "counts": "o" * 13 + "O"},
        {"size": [6, 8], "counts": "PPPP"},
        {"size": [6, 8], "counts": ""},
        {"size": [7, 8], "counts": [56]},
        {"counts": [48]},
        [[0, 0, 1, 1]],
        [[0, 0, 1e9, 1, 2, 2]],
        [[0, 0, 10**400, 1, 2, 2]],
        [[0, 0, "a", 1, 2, 2]],
        [[0, 0, float("nan"), 1, 2, 2]],
        "text",
        {},
    ],
)
def test_what_cannot_be_drawn_is_an_error_of_its_image(segmentation: Any) -> None:
    with pytest.raises(ImageError):
        drawn(segmentation)


def test_annotations_without_area_are_passed_over_and_counted() -> None:
    polygon = [[1, 1, 4, 1, 4, 4]]
    whole = coco([], polygon, None, [[]], [])
    del whole["annotations"][-1]["segmentation"]
    read = read_coco(json.dumps(whole).encode(), "FILE")
    assert read.without_area == 4
    np.testing.assert_array_equal(read.draw(read.images["x/a.jpg"], 6, 8) == 1, drawn(polygon) == 0)


def test_an_image_of_another_size_than_the_one_that_was_drawn_in_is_an_error() -> None:
    whole = coco([[0, 0, 8, 0, 8, 6, 0, 6]])
    read = read_coco(json.dumps(whole).encode(), "FILE")
    # Turned, and resized.
    for height, width in ((8, 6), (12, 16)):
        with pytest.raises(ImageError, match=f"annotation of 8x6 pixels for an image of {width}x{height}") as caught:
            read.draw(read.images["x/a.jpg"], height, width)
        assert caught.value.kind == "mask_size"
    (image,) = whole["images"]
    for unknown in ({}, {"height": None, "width": None}, {"height": 0, "width": 0}):
        named = {"id": image["id"], "file_name": image["file_name"], **unknown}
        read = read_coco(json.dumps({**whole, "images": [named]}).encode(), "FILE")
        assert (read.draw(read.images["x/a.jpg"], 12, 16) == 0).sum() == 48


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"images": [], "categories": [], "annotations": []}', b"\xff"])
def test_a_file_that_is_no_coco_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(UsageError, match="FILE ") as caught:
        read_coco(data, "FILE")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("key", ["id", "file_name"])
def test_two_images_of_one_name_or_id_are_refused(key: str) -> None:
    whole = coco([[0, 0, 8, 0, 8, 6]])
    other = {"id": 6, "file_name": "b.jpg", "width": 8, "height": 6, key: whole["images"][0][key]}
    whole["images"].append(other)
    with pytest.raises(UsageError, match=f"FILE has several images of the {key} {other[key]}; give each its own"):
        read_coco(json.dumps(whole).encode(), "FILE")


def test_two_categories_of_one_id_are_refused() -> None:
    whole = coco([[0, 0, 8, 0, 8, 6]])
    twin = {**whole["categories"][0], "name": "another"}
    with pytest.raises(UsageError, match=f"FILE has several categories of the id {twin['id']}; give each its own"):
        read_coco(json.dumps({**whole, "categories": [*whole["categories"], twin]}).encode(), "FILE")


@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_an_export_is_read_back(name: str, tmp_path: Path) -> None:
    target = FORMATS[name](CLASSES, ("train", "val"))
    written(target, list(PICTURES.values()), tmp_path)
    files = [tmp_path / "annotations.zip"] if name == "cvat" else sorted((tmp_path / "annotations").glob("*.json"))
    found = {}
    for file in files:
        read = (read_cvat if name == "cvat" else read_coco)(file.read_bytes(), str(file))
        assert [named.name for named in read.classes] == [named.name for named in CLASSES]
        matched, unknown = match(read.images, {image.image_id: image.file for image in PICTURES.values()})
        assert not unknown
        for image_id, stored in matched.items():
            found[image_id] = read.draw(read.images[stored], *PICTURES[image_id].mask.shape)
    assert set(found) == set(PICTURES)
    for image_id, image in PICTURES.items():
        np.testing.assert_array_equal(found[image_id], image.mask)


def test_an_export_of_more_classes_than_8_bits_hold_is_read_back(tmp_path: Path) -> None:
    images = [replace(image, split="all") for image in MANY_PICTURES.values()]
    written(FORMATS["coco"](MANY, ("all",)), images, tmp_path)
    read = read_coco((tmp_path / "annotations" / "all.json").read_bytes(), "FILE")
    assert len(read.classes) == 300
    matched, _ = match(read.images, {image.image_id: image.file for image in MANY_PICTURES.values()})
    for image_id, image in MANY_PICTURES.items():
        np.testing.assert_array_equal(read.draw(read.images[matched[image_id]], *image.mask.shape), image.mask)


def zipped(**files: bytes) -> bytes:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        for name, data in files.items():
            file.writestr(name.replace("__", "/").replace("_png", ".png").replace("_txt", ".txt"), data)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no zip", "is no zip file of CVAT"),
        (zipped(other_txt=b""), "is no zip file of CVAT"),
        (zipped(labelmap_txt=b"background:0,0,0::\n"), "has 0 classes"),
        (zipped(labelmap_txt=b"road:1,2::"), "is not of the form name:R,G,B::"),
        (zipped(labelmap_txt=b"road:1,2,300::"), "is not of the form name:R,G,B::"),
        (zipped(labelmap_txt=b"a:1,2,3::\nb:1,2,3::"), "have the same colour"),
        (zipped(labelmap_txt=b"a:1,2,3::", SegmentationClass__a_png=bytes(2**26 + 1)), "SegmentationClass/a.png has"),
    ],
)
def test_a_file_that_is_no_zip_of_cvat_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_cvat(data, "FILE")
    assert len(str(caught.value).splitlines()) == 1


def packed(files: dict[str, bytes]) -> bytes:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {"labelmap.txt": b"a:1,2,3::", **files}.items():
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_zip_of_cvat_is_read_as_it_was_or_refused_in_one_line(place: int, value: int) -> None:
    random = np.random.default_rng(0)
    mask = random.integers(0, 50, 400).astype(np.uint8).tobytes()
    whole = packed({"SegmentationClass/a.png": mask})
    damaged = bytearray(whole)
    damaged[place % len(whole)] = value
    try:
        # Times and the names of files have no checksum.
        images = list(read_cvat(bytes(damaged), "FILE").images.values())
        outcome = "" if images in ([mask], []) else "other bytes"
    except UsageError as error:
        outcome = str(error)
    assert outcome == "" or "FILE" in outcome
    assert len(outcome.splitlines()) <= 1


def test_a_zip_that_unpacks_to_far_more_than_it_is_is_refused() -> None:
    bomb = packed({f"SegmentationClass/{number}.png": bytes(2**25) for number in range(4)})
    with pytest.raises(UsageError, match="would unpack to"):
        read_cvat(bomb, "FILE")


@pytest.mark.parametrize("name", ["x" * 300, "a\x07b", "\u202egnp", ""])
def test_names_that_no_class_may_have_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=r"name of (a )?class") as caught:
        read_coco(json.dumps({**coco([[0, 0, 8, 0, 8, 6]]), "categories": [{"id": 30, "name": name}]}).encode(), "FILE")
    assert len(str(caught.value).splitlines()) == 1
    if name:
        with pytest.raises(UsageError, match=r"name of (a )?class"):
            read_cvat(packed({"labelmap.txt": f"{name}:1,2,3::".encode()}), "FILE")


@pytest.mark.parametrize("size", [(5, 6), None])
def test_a_mask_of_another_size_is_an_error_of_its_image(size: tuple[int, int] | None) -> None:
    sink = BytesIO()
    Image.new("RGB", size or (1, 1)).save(sink, format="PNG")
    data = zipped(labelmap_txt=b"a:1,2,3::", SegmentationClass__a_png=sink.getvalue() if size else b"no picture")
    read = read_cvat(data, "FILE")
    with pytest.raises(ImageError):
        read.draw(read.images["a.png"], 8, 6)


def test_images_are_matched_by_path_by_id_and_by_a_name_that_is_the_only_one() -> None:
    images = {"x/a": "in/x/a.JPG", "y/a": "in/y/a.JPG", "b.c": "in/b.c.png", "d": "d"}
    named = ["in/x/a.JPG", "y/a.png", "other/b.c.png", "a.JPG", "e.png", "d.jpeg"]
    matched, unknown = match(named, images)
    assert matched == {"x/a": "in/x/a.JPG", "y/a": "y/a.png", "b.c": "other/b.c.png", "d": "d.jpeg"}
    assert unknown == ["a.JPG", "e.png"]


@pytest.mark.parametrize(
    ("named", "images", "expected"),
    [
        (["train/a.jpg", "val/a.jpg"], {"a": "a.jpg"}, {}),
        (["train/a.jpg", "a.jpg", "val/a.jpg"], {"a": "a.jpg"}, {"a": "a.jpg"}),
        (["a.jpg", "val/a.jpg"], {"a": "images/a.jpg"}, {"a": "a.jpg"}),
        (["val/a.jpg", "train/a.jpg"], {"train/a": "train/a.jpg"}, {"train/a": "train/a.jpg"}),
        (["a.png", "a.jpg", "a"], {"a": "images/a.jpg"}, {"a": "a.jpg"}),
        (["a.png", "a.bmp", "x/a.jpg"], {"a": "a.jpg"}, {}),
        # Two images of one path but for the suffix.
        (["a.bmp", "a.png"], {"a.jpg": "a.jpg", "a.png": "a.png"}, {"a.png": "a.png"}),
        # The path of one, and the id of another.
        (["a.png", "b"], {"a": "b.png", "b": "a.png"}, {"b": "a.png"}),
    ],
)
def test_of_names_that_may_be_one_image_the_nearest_counts_and_else_none(
    named: list[str], images: dict[str, str], expected: dict[str, str]
) -> None:
    for order in (named, named[::-1]):
        assert match(order, images) == (expected, [name for name in order if name not in expected.values()])


def test_colours_of_classes_are_those_of_the_list() -> None:
    data = zipped(labelmap_txt=b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:1,2,3::\n\ntree:4,5,6::\n")
    assert read_cvat(data, "FILE").classes == (NamedClass("road", "#010203"), NamedClass("tree", "#040506"))
