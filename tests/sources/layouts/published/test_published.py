"""Every data set of the field in its published form: classes, splits, recognition, messages, and whole runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import datus2_ray
from datus2_ray.commands import plan
from datus2_ray.config import load
from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.decode import decode
from datus2_ray.demo.scenes import render
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.layouts.layout import Inside
from datus2_ray.sources.layouts.published import PUBLISHED
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.store import parquet
from datus2_ray.store.facts import Ingested, Surveyed
from tests.in_process import SMALL_MACHINE, commands_without_ray
from tests.sources.layouts.published import made
from tests.sources.layouts.published.made import MADE

Open = Callable[..., Run]


def listing(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def inside(root: Path) -> Inside:
    return Inside(None, lambda paths: [(root / path).read_bytes() for path in paths])


def rows_of(run: Run) -> tuple[list[dict[str, Any]], Surveyed]:
    run, _ = execute(run, (INGEST, SURVEY))
    ingested = run.commit(Ingested)
    rows = [row for part in sorted(ingested.parts) for row in parquet.read_table(ingested.path(part)).to_pylist()]
    return rows, run.facts(Surveyed)


@pytest.mark.parametrize("name", [name for name in MADE if name != "potsdam6-originals"])
def test_every_class_is_read_from_its_published_encoding(tmp_path: Path, open_here: Open, name: str) -> None:
    one = MADE[name]
    scenes = made.blocks(one.classes)
    one.write(tmp_path / "in", scenes)
    rows, surveyed = rows_of(open_here(tmp_path / "in", dataset=one.dataset, split=one.split, clusters=2))
    expected = one.order(scenes)
    assert len(rows) == len(expected)
    assert len(surveyed.classes) == one.classes
    assert len(set(surveyed.classes)) == one.classes
    for row, (pixels, ids) in zip(rows, expected, strict=True):
        assert row["mask_fault"] is None
        assert decode(row["image"]).shape[:2] == (row["height"], row["width"])
        if row["width"] == 200:
            ids = made.enlarged((pixels, ids), 200)[1]
        classes = draw_classes(row["mask"], surveyed.codes, surveyed.by_colour)
        np.testing.assert_array_equal(classes, np.where(ids == made.VOID, one.void, ids))


@pytest.mark.parametrize("name", MADE)
def test_a_data_set_is_recognised_by_its_files_and_no_other(tmp_path: Path, name: str) -> None:
    one = MADE[name]
    one.write(tmp_path, made.blocks(one.classes))
    (line,) = known.recognise(listing(tmp_path))
    named = re.fullmatch(r"this looks like (.+): --dataset (.+) reads its classes", line)
    assert named is not None
    assert one.dataset in named[2].split(" or ")
    assert known.find(one.dataset).title.startswith(named[1])


def test_no_usual_folder_is_recognised() -> None:
    for files in (
        ["images/a.jpg", "masks/a.png"],
        ["train/images/a.jpg", "train/masks/a.png", "val/images/b.jpg", "val/masks/b.png"],
        ["train/a.jpg", "train_labels/a.png"],
        ["imgs/a.jpg", "gt/a.png"],
        ["a.jpg", "package.json", "b.json", "a.json"],
        ["train2017/a.jpg"],
    ):
        assert known.recognise(files) == []


@pytest.mark.parametrize("layout", PUBLISHED, ids=lambda layout: layout.name)
def test_a_wrong_layout_is_answered_by_the_right_one(layout: Any) -> None:
    with pytest.raises(UsageError) as caught:
        layout.samples(["photos/a.jpg", "photos/b.jpg"], None)
    message = str(caught.value)
    assert message.startswith(f"{layout.name}: expected {layout.folders[0]}")
    assert message.endswith("found 2 files in photos/")
    assert len(message) < 900


def test_names_and_colours_stand_where_they_are_published() -> None:
    for dataset, number, name, colour in (
        ("ade20k", 0, "wall", (120, 120, 120)),
        ("ade20k", 12, "person", (150, 5, 61)),
        ("ade20k", 149, "flag", (92, 0, 255)),
        ("voc", 15, "person", (192, 128, 128)),
        ("voc", 20, "tvmonitor", (0, 64, 128)),
        ("cityscapes27", 24, "train", (0, 80, 100)),
        ("cityscapes19", 16, "train", (0, 80, 100)),
        ("cityscapes19", 18, "bicycle", (119, 11, 32)),
        ("cocostuff171", 0, "person", None),
        ("cocostuff171", 79, "toothbrush", None),
        ("cocostuff171", 80, "banner", None),
        ("cocostuff171", 170, "wood", None),
        ("cocostuff27", 12, "ceiling", (64, 0, 128)),
        ("potsdam3", 2, "vegetation and trees", (0, 255, 0)),
        ("potsdam6", 4, "cars", (255, 255, 0)),
    ):
        layout = known.find(dataset)
        assert layout.class_names is not None
        assert layout.palette is not None
        assert layout.class_names[number] == name
        assert colour is None or tuple(layout.palette[number].tolist()) == colour


@pytest.mark.parametrize(
    ("files", "dataset", "message"),
    [
        (["gtFine/val/a/a_1_gtFine_labelTrainIds.png"], "cityscapes27", "no mask in gtFine/val/ is named like"),
        (
            ["gtFine/val/a/a_1_gtFine_color.png"],
            "cityscapes19",
            r"a_1\.png wants .*_labelTrainIds\.png, found",
        ),
    ],
)
def test_masks_of_another_kind_are_refused(files: list[str], dataset: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        known.find(dataset).samples(["leftImg8bit/val/a/a_1_leftImg8bit.png", *files], "val")


def test_lists_decide_the_splits_of_voc(tmp_path: Path) -> None:
    made.voc(tmp_path, made.blocks(21))
    files, look = listing(tmp_path), inside(tmp_path)
    voc = known.find("voc")
    samples = {split: voc.samples(files, split, None, look) for split in (*voc.splits, None)}
    assert [s.image_id for s in samples["train"]] == ["2007_000032"]
    assert [s.image_id for s in samples["val"]] == ["2007_000033"]
    assert [s.image_id for s in samples["trainval"]] == ["2007_000032", "2007_000033"]
    assert [s.image_id for s in samples[None]] == ["train/2007_000032", "val/2007_000033"]
    assert samples["train"][0].mask == "VOCdevkit/VOC2012/SegmentationClass/2007_000032.png"
    without = [path for path in files if "ImageSets" not in path]
    look = inside(tmp_path)
    assert [s.image_id for s in voc.samples(without, None, None, look)] == ["2007_000032", "2007_000033", "2012_004331"]
    assert look.notes == ["voc: all 3 images; no list ImageSets/Segmentation/*.txt says which of them are annotated"]
    with pytest.raises(UsageError, match=r"no list ImageSets/Segmentation/val\.txt of the images in val"):
        voc.samples(without, "val")
    two = [*files, *(path.replace("2012", "2007") for path in files)]
    with pytest.raises(UsageError, match=r"in VOCdevkit/VOC2007/ and VOCdevkit/VOC2012/; give one of these folders"):
        voc.samples(two, "val", None, look)


def test_the_curated_lists_of_coco_stuff_choose_the_images_and_what_happens_without_is_said(tmp_path: Path) -> None:
    made.cocostuff(made.COARSE)(tmp_path, made.blocks(27))
    files, look = listing(tmp_path), inside(tmp_path)
    coarse = known.find("cocostuff27")
    assert len(coarse.samples(files, "val", None, look)) == 2
    assert look.notes == ["val: the 2 images that curated/val2017/Coco164kFull_Stuff_Coarse_7.txt names"]
    assert len(known.find("cocostuff171").samples(files, "val", None, look)) == 3
    look = inside(tmp_path)
    (left,) = coarse.samples([path for path in files if not path.endswith("139.jpg")], "val", None, look)
    assert left.image_id.endswith("285")
    assert look.notes[0].startswith("val: 1 of the 2 images that")
    look = inside(tmp_path)
    assert len(coarse.samples([path for path in files if "curated" not in path], "val", None, look)) == 3
    assert look.notes[0].startswith("val: all 3 images; no list curated/*/Coco164kFull_Stuff_Coarse_7.txt chooses")


def test_originals_of_potsdam_are_cut_into_windows(tmp_path: Path, open_here: Open) -> None:
    scenes = made.blocks(6)
    made.potsdam_originals(tmp_path / "in", scenes)
    run = open_here(tmp_path / "in", dataset="potsdam6", clusters=2)
    assert run.listing.images == 8
    rows, surveyed = rows_of(run)
    assert [row["image_id"] for row in rows] == [
        f"top_potsdam_2_{number}/row-{row:02d}-column-{column:02d}"
        for number in (10, 13)
        for row in range(2)
        for column in range(2)
    ]
    assert [(row["height"], row["width"]) for row in rows[:4]] == [(400, 400), (400, 360), (300, 400), (300, 360)]
    for number, row in enumerate(rows[:4]):
        pixels, ids = made.enlarged(scenes[number % 2], 400)
        height, width = row["height"], row["width"]
        np.testing.assert_array_equal(decode(row["image"]), pixels[:height, :width])
        classes = draw_classes(row["mask"], surveyed.codes, surveyed.by_colour)
        np.testing.assert_array_equal(classes, ids[:height, :width])
    assert all(row["mask"] is None and row["mask_fault"] is None for row in rows[4:])


def test_labels_of_another_size_than_their_original_are_not_used(tmp_path: Path, open_here: Open) -> None:
    made.potsdam_originals(tmp_path / "in", made.blocks(6))
    label = tmp_path / "in" / "5_Labels_all" / "top_potsdam_2_10_label.tif"
    made.grey(label, np.zeros((600, 760)))
    rows, _ = rows_of(open_here(tmp_path / "in", dataset="potsdam3", clusters=2))
    assert {row["mask_fault"] for row in rows[:4]} == {"mask_size: mask of 760x600 pixels for an image of 760x700"}
    label.write_bytes(label.read_bytes()[:-5000])
    rows, _ = rows_of(open_here(tmp_path / "in", dataset="potsdam3", clusters=2, name="cut"))
    assert len(rows) == 8


@pytest.mark.parametrize("content", [b"MATLAB 5.0 MAT-file, and no more", b"", b"text"])
def test_pieces_of_potsdam_that_are_damaged_are_faults(content: bytes) -> None:
    from datus2_ray.errors import ImageError

    potsdam = known.find("potsdam3")
    if content.startswith(b"MATLAB"):
        with pytest.raises(ImageError):
            potsdam.picture(content)
    with pytest.raises(ImageError) as caught:
        potsdam.decode_mask(content, 200, 200)
    assert caught.value.kind == "mask_unreadable"


def test_masks_of_single_classes_in_suim_are_passed_over(tmp_path: Path, open_here: Open) -> None:
    made.suim(tmp_path / "in", made.blocks(8))
    run = open_here(tmp_path / "in", dataset="suim", clusters=2)
    assert run.listing.images == 4
    assert set(run.listing.passed_over) == {path for path in listing(tmp_path / "in") if path.count("/") == 3}


def test_files_that_were_read_are_not_passed_over(tmp_path: Path, open_here: Open) -> None:
    made.potsdam_pieces(tmp_path / "in", made.blocks(3))
    run = open_here(tmp_path / "in", dataset="potsdam3", clusters=2)
    assert run.listing.passed_over == {}
    assert "labelled_test: the 1 images that labelled_test.txt names" in run.listing.ground_truth
    assert [image for part in run.listing.parts.values() for image in part["image_id"]] == [
        "labelled_test/18", "labelled_train/17", "unlabelled_train/900",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["voc", "coco", "potsdam6-originals"])
def test_a_plan_says_what_the_ground_truth_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    one = MADE[name]
    one.write(tmp_path / "in", made.blocks(one.classes))
    monkeypatch.setattr(plan, "look_at_machines", lambda seconds: SMALL_MACHINE)
    flags = {"source": str(tmp_path / "in"), "out": str(tmp_path / "run"), "dataset": one.dataset, "split": one.split}
    planned = plan.plan_run(load(flags))
    assert planned.source.labelled
    assert any(note.startswith("ground truth of") for note in planned.notes)
    if name == "coco":
        assert any("classes: background, thing 1, thing 2" in note for note in planned.notes)


#: Sets of which more than paths of files reaches the tasks of Ray.
ON_RAY = ("potsdam6-originals", "coco")

#: Of the others, each list of classes once.
HERE = (
    "ade20k", "voc", "cityscapes27", "cityscapes19-train-ids", "cocostuff27", "cocostuff171", "potsdam3-pieces",
    "camvid-kaggle", "suim", "labelme",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_a_run_scores_by_the_classes_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    commands_without_ray(monkeypatch)
    run_and_check(tmp_path, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_RAY)
def test_windows_and_drawn_regions_reach_the_tasks_of_ray(tmp_path: Path, ray_session: None, name: str) -> None:
    run_and_check(tmp_path, name)


def run_and_check(tmp_path: Path, name: str) -> None:
    """Run over a few images of a made data set, and compare classes, scores and colours."""
    one = MADE[name]
    scenes = made.spread([render(number, 0) for number in range(3)], one.classes)
    one.write(tmp_path / "in", scenes)
    flags = {
        "source": str(tmp_path / "in"), "out": str(tmp_path / "run"), "dataset": one.dataset, "split": one.split,
        "limit": 3, "clusters": 2, "no_refine": True, "backbone": "untrained:vit_tiny_patch16_224",
    }  # fmt: skip
    few = ("discover.input_size=64", "discover.tau=0", "discover.actors=1", "cluster.workers=1", "cluster.restarts=1")
    summary = datus2_ray.run(load(flags, preset="paper", assignments=(*few, "evaluate.token_kmeans=false")))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert summary["metrics"] == metrics
    assert metrics["images"] == min(3, len(one.order(scenes)))
    assert metrics["initial"]["one_to_one"]["pixel_accuracy"] > 0
    layout = known.find(one.dataset)
    if layout.class_names is None:
        # LabelMe's in the order of their first shapes.
        assert sorted(metrics["classes"]) == ["background", *(f"thing {number}" for number in range(1, 6))]
    else:
        assert metrics["classes"] == list(layout.class_names)
        report = (tmp_path / "run" / "report" / "index.html").read_text()
        assert layout.palette is not None
        for number in np.unique(scenes[0][1]).tolist():
            assert "#{:02x}{:02x}{:02x}".format(*layout.palette[number].tolist()) in report
