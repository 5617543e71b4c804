from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datus2_ray.core.images.classes import draw_classes, find_classes
from datus2_ray.engine.run import Run
from datus2_ray.errors import ImageError, UsageError
from datus2_ray.exports.from_coco import DrawCoco
from datus2_ray.sources.layouts.known import find
from datus2_ray.sources.layouts.labelme import parse_labelme
from datus2_ray.sources.layouts.layout import Inside
from datus2_ray.sources.layouts.samples import Sample
from tests.sources.layouts.published import made
from tests.sources.layouts.published.test_published import rows_of

SQUARE = [[4, 4], [12, 4], [12, 12], [4, 12]]


def shape(kind: str, points: list[list[float]], label: str = "cat") -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, "group_id": None}


def document(*shapes: dict[str, Any], image: str = "a.jpg", size: tuple[int, int] = (20, 30)) -> bytes:
    named = {"imagePath": image, "imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
    return json.dumps({"version": "5.4.1", "flags": {}, "shapes": shapes, **named}).encode()


def coco(*names: str, categories: tuple[str, ...] = ("cat", "dog"), size: int = 20) -> bytes:
    """Return a COCO file in which each image has the first category in its middle."""
    return json.dumps({
        "images": [{"id": n, "file_name": name, "height": size, "width": size} for n, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": number, "category_id": 1, "segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]]}
            for number in range(len(names))
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }).encode()  # fmt: skip


def asked(contents: dict[str, bytes]) -> Inside:
    return Inside(None, lambda paths: [contents.get(path) for path in paths])


def drawn(regions: list[tuple[int, Any]], height: int = 20, width: int = 30) -> np.ndarray:
    return DrawCoco()(json.dumps(regions).encode(), height, width)


def test_shapes_of_labelme_are_drawn() -> None:
    inside = np.zeros((20, 30), bool)
    inside[4:12, 4:12] = True
    for kind, points in (("polygon", SQUARE), ("rectangle", [[12, 12], [4, 4]])):
        names, found = parse_labelme(document(shape(kind, points)), "a.json")
        assert names == ("cat",)
        np.testing.assert_array_equal(drawn(found["a.jpg"]) == 0, inside)
    _, found = parse_labelme(document(shape("circle", [[15, 10], [15, 4]])), "a.json")
    rows, columns = np.mgrid[:20, :30]
    circle = drawn(found["a.jpg"]) == 0
    assert circle[np.hypot(rows - 10, columns - 15) < 5].all()
    assert not circle[np.hypot(rows - 10, columns - 15) > 7].any()
    names, found = parse_labelme(document(shape("point", [[1, 1]], "p"), shape("line", SQUARE[:2], "l")), "a.json")
    assert (drawn(found["a.jpg"]) == 255).all()
    assert "p" not in names


def test_what_leaves_the_image_is_cut_and_later_shapes_lie_over_earlier_ones() -> None:
    names, found = parse_labelme(
        document(shape("rectangle", [[-9, -9], [40, 50]], "all"), shape("polygon", SQUARE, "cat")), "a.json"
    )
    classes = drawn(found["a.jpg"])
    assert [names[classes[0, 0]], names[classes[19, 29]], names[classes[5, 5]]] == ["all", "all", "cat"]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"shapes": [{}]}', document(shape("mask", SQUARE[:2]))])
def test_other_json_files_are_no_annotations(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"a\.json is no file of LabelMe"):
        parse_labelme(data, "a.json")


@pytest.mark.parametrize(("kind", "data"), [("labelme", document(shape("polygon", SQUARE))), ("coco", coco("a.jpg"))])
def test_annotations_of_another_size_are_a_fault(kind: str, data: bytes) -> None:
    (sample,) = find(kind).samples(["a.jpg", "a.json"], None, None, asked({"a.json": data}))
    width = 30 if kind == "labelme" else 20
    with pytest.raises(ImageError, match=f"annotation of {width}x20 pixels for an image of 40x20") as caught:
        find(kind).decode_mask(sample.drawn, 20, 40)
    assert caught.value.kind == "mask_size"
    assert find(kind).decode_mask(sample.drawn, 20, width).values.max() == 1
    with pytest.raises(ImageError, match="no annotations"):
        find(kind).decode_mask(b"\x89PNG", 20, 40)


def test_the_image_beside_a_json_file_counts_and_else_the_one_that_it_names() -> None:
    contents = {
        "train/a.json": document(shape("polygon", SQUARE), image="..\\old\\z.png"),
        "val/a.json": document(shape("polygon", SQUARE, "dog"), image="z.png"),
        "json/b.json": document(shape("polygon", SQUARE, "__ignore__"), image="../train/b.jpg"),
        "package.json": b'{"name": "no annotations"}',
    }
    look = asked(contents)
    files = ["train/a.jpg", "val/a.jpg", "train/b.jpg", "train/c.jpg", *contents]
    samples = find("labelme").samples(files, None, None, look)
    assert [(s.image, s.mask) for s in samples] == [
        ("train/a.jpg", "train/a.json"), ("train/b.jpg", "json/b.json"), ("train/c.jpg", None),
        ("val/a.jpg", "val/a.json"),
    ]  # fmt: skip
    assert [name for name, _ in look.palette] == ["background", "cat", "dog"]
    assert look.used == set(contents) - {"package.json"}
    values = [np.unique(find("labelme").decode_mask(s.drawn, 20, 30).values).tolist() for s in samples if s.mask]
    assert values == [[0, 1], [0, 255], [0, 2]]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_of_two_images_beside_a_json_file_it_says_which(suffix: str) -> None:
    contents = {"x/a.json": document(shape("polygon", SQUARE), image=f"a{suffix}")}
    samples = find("labelme").samples(["x/a.jpg", "x/a.png", *contents], None, None, asked(contents))
    assert [s.image for s in samples if s.mask] == [f"x/a{suffix}"]


@pytest.mark.parametrize("kind", ["coco", "labelme"])
@pytest.mark.parametrize(("categories", "void"), [(253, 255), (254, 65535), (255, 65535), (300, 65535)])
def test_more_classes_than_8_bits_hold_are_read_with_a_void_of_their_own(kind: str, categories: int, void: int) -> None:
    names = [f"thing {number}" for number in range(1, categories + 1)]
    # A column for each of the last classes, of all that there are, and one that is not scored.
    last = [*names[-9:], "__ignore__"]
    columns = [[column, 0, column + 1, 0, column + 1, 8, column, 8] for column in range(1, 11)]
    if kind == "coco":
        regions = [
            {"id": at, "image_id": 1, "category_id": ([*names, "__ignore__"].index(name)), "segmentation": [column]}
            for at, (name, column) in enumerate(zip(last, columns, strict=True))
        ]
        listed = [{"id": number, "name": name} for number, name in enumerate([*names, "__ignore__"])]
        images = [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 12}]
        contents = {"all.json": json.dumps({"images": images, "annotations": regions, "categories": listed}).encode()}
    else:
        # All are named, and hidden by the background again.
        shapes = [shape("rectangle", [[0, 0], [1, 8]], name) for name in (*names, "background")]
        shapes += [
            shape("polygon", np.reshape(column, (4, 2)).tolist(), name)
            for name, column in zip(last, columns, strict=True)
        ]
        contents = {"a.json": document(*shapes, size=(8, 12))}
    look = asked(contents)
    (sample,) = find(kind).samples(["a.jpg", *contents], None, None, look)
    label_map = find(kind).decode_mask(sample.drawn, 8, 12)
    assert label_map.values[0, 1:].tolist() == [*range(categories - 8, categories + 1), void, 0]
    found = find_classes(label_map.count(), look.palette)
    assert found.names == ("background", *last[:-1])
    assert found.void == {str(void): 8}


def test_files_of_coco_name_images_below_their_own_folder_and_share_classes() -> None:
    contents = {
        "train/_annotations.coco.json": coco("a.jpg", "b.jpg", "gone.jpg"),
        "valid/_annotations.coco.json": coco("a.jpg", categories=("Dog", "bird")),
        "captions.json": b'{"images": [], "annotations": []}',
    }
    look = asked(contents)
    samples = find("coco").samples(["train/a.jpg", "train/b.jpg", "valid/a.jpg", *contents], None, None, look)
    assert [s.image_id for s in samples] == ["train/a", "train/b", "valid/a"]
    assert [name for name, _ in look.palette] == ["background", "cat", "dog", "bird"]
    assert [int(find("coco").decode_mask(s.drawn, 20, 20).values[10, 10]) for s in samples] == [1, 1, 2]
    assert look.notes == [
        "1 of 4 annotated images are not in the source, such as gone.jpg of train/_annotations.coco.json"
    ]


def test_boxes_are_passed_over_and_counted() -> None:
    whole, boxes = json.loads(coco("a.jpg", "b.jpg")), json.loads(coco("a.jpg", "b.jpg"))
    box = {"image_id": 0, "category_id": 2, "bbox": [0, 0, 9, 9]}
    whole["annotations"] += [{**box, "id": 7}, {**box, "id": 8, "segmentation": []}]
    boxes["annotations"] = [box]
    # A file of boxes alone is no ground truth, in which all would be background.
    contents = {"boxes.json": json.dumps(boxes).encode(), "whole.json": json.dumps(whole).encode()}
    look = asked(contents)
    samples = find("coco").samples(["a.jpg", "b.jpg", *contents], None, None, look)
    assert look.notes == ["2 annotations without area, such as boxes, are passed over, for example in whole.json"]
    assert look.used == {"whole.json"}
    for sample in samples:
        values = find("coco").decode_mask(sample.drawn, 20, 20).values
        assert [values[2, 2], values[10, 10]] == [0, 1]
    with pytest.raises(UsageError, match=r"boxes\.json has 1 annotations, none of them with an area"):
        find("coco").samples(["a.jpg", *contents], None, "boxes.json", asked(contents))


def test_two_images_of_one_name_in_a_file_are_refused_and_not_passed_over() -> None:
    contents = {"a.json": coco("a.jpg", "a.jpg"), "b.json": coco("b.jpg")}
    with pytest.raises(UsageError, match=r"a\.json has several images of the file_name a\.jpg"):
        find("coco").samples(["a.jpg", "b.jpg", *contents], None, None, asked(contents))


def test_of_two_files_that_annotate_an_image_one_is_chosen() -> None:
    contents = {
        "annotations/instances.json": coco("a.jpg"),
        "annotations/stuff.json": coco("a.jpg", categories=("sky",)),
    }
    files = ["images/a.jpg", *contents]
    with pytest.raises(
        UsageError, match=r"instances\.json and annotations/stuff\.json both annotate a\.jpg: .*--masks"
    ):
        find("coco").samples(files, None, None, asked(contents))
    look = asked(contents)
    (sample,) = find("coco").samples(files, None, "stuff.json", look)
    assert sample == Sample("a", "images/a.jpg", "annotations/stuff.json", sample.drawn)
    assert look.palette[1][0] == "sky"
    with pytest.raises(UsageError, match="is no COCO file"):
        find("coco").samples(files, None, "*.json", asked({**contents, "annotations/stuff.json": b"{}"}))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"a.json": b"{}"}, r"none of 1 JSON files has annotations, such as a\.json"),
        ({"a.json": coco("other.jpg")}, r"1 JSON files name none of the images, such as x/1\.jpg"),
        ({}, "expected images and a COCO file that names them.*; found 1 files in x/"),
    ],
)
def test_a_folder_without_annotations_is_refused(contents: dict[str, bytes], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find("coco").samples(["x/1.jpg", *contents], None, None, asked(contents))


def test_label_maps_beside_the_images_are_no_images(tmp_path: Path, open_here: Callable[..., Run]) -> None:
    scenes = made.blocks(6)
    made.coco(tmp_path / "in", scenes)
    for path in sorted((tmp_path / "in" / "val2017").iterdir()):
        made.grey(tmp_path / "in" / "panoptic_val2017" / f"{path.stem}.png", scenes[0][1])
    run = open_here(tmp_path / "in", dataset="coco", clusters=2, ignore_id=("0",))
    assert run.listing.images == 2
    rows, surveyed = rows_of(run)
    assert surveyed.classes == tuple(f"thing {number}" for number in range(1, 6))
    classes = draw_classes(rows[0]["mask"], surveyed.codes, surveyed.by_colour)
    expected = np.where((scenes[0][1] == 0) | (scenes[0][1] == made.VOID), 255, scenes[0][1].astype(int) - 1)
    np.testing.assert_array_equal(classes, expected)


def test_annotations_can_be_packed_into_shards(
    tmp_path: Path, open_here: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datus2_ray.commands.ingest import ingest
    from datus2_ray.config import load
    from tests.in_process import commands_without_ray

    made.labelme(tmp_path / "in", made.blocks(6))
    commands_without_ray(monkeypatch)
    commit = ingest(load({"source": str(tmp_path / "in"), "out": str(tmp_path / "shards"), "dataset": "labelme"}))
    assert commit.rows_out == 2
    rows, surveyed = rows_of(open_here(tmp_path / "shards", clusters=2))
    assert surveyed.classes == ("background", *(f"thing {number}" for number in range(1, 6)))
    direct, _ = rows_of(open_here(tmp_path / "in", dataset="labelme", clusters=2, name="direct"))
    assert [row["mask"] for row in rows] == [row["mask"] for row in direct]
    assert Image.open(tmp_path / "in" / "2011_000000.jpg").size == (64, 48)
