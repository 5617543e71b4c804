"""Label maps wherever they lie and however they are stored: never images, the ground truth where they can be it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datus2_ray.core.images.classes import draw_classes
from datus2_ray.core.images.decode import decode
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.look import LABEL_MAP, NO_TRUTH
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.survey import SURVEY
from datus2_ray.store import parquet
from datus2_ray.store.facts import Ingested, Surveyed

Open = Callable[..., Run]
Encode = Callable[[np.ndarray, int], bytes]

COUNT = 8
#: Colours far from grey, one of them void by no custom.
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 3), dtype=np.uint8)


def encoded(image: Image.Image, codec: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, codec, **options)
    return file.getvalue()


def png(ids: np.ndarray, number: int = 0) -> bytes:
    return encoded(Image.fromarray(ids))


def scene_ids(scenes: Path, number: int) -> np.ndarray:
    return np.array(Image.open(scenes / "masks" / f"scene_{number:04d}.png"))


def write(folder: Path, scenes: Path, image: str, mask: str | None = None, encode: Encode = png) -> Path:
    """Write some scenes and their label maps under names with ``{}`` for their number."""
    for number in range(COUNT):
        file = folder / image.format(f"{number:04d}")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".jpg":
            shutil.copy(scenes / "images" / f"scene_{number:04d}.jpg", file)
        else:
            Image.open(scenes / "images" / f"scene_{number:04d}.jpg").save(file)
        if mask is not None:
            beside = folder / mask.format(f"{number:04d}")
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(encode(scene_ids(scenes, number), number))
    return folder


def survey(run: Run) -> tuple[list[dict[str, Any]], Surveyed | None]:
    """Return the rows of the images of a run, and what is known of their classes."""
    run, _ = execute(run, (INGEST, SURVEY))
    ingested, surveyed = run.commit(Ingested), run.find(Surveyed)
    rows = [row for part in sorted(ingested.parts) for row in parquet.read_table(ingested.path(part)).to_pylist()]
    return rows, surveyed.facts if surveyed else None


def truth(rows: list[dict[str, Any]], surveyed: Surveyed | None) -> list[np.ndarray]:
    assert surveyed is not None
    return [draw_classes(row["mask"], surveyed.codes, surveyed.by_colour) for row in rows]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/training/{}.jpg", "annotations/training/{}.png"),
        ("images/{}.jpg", "labels/{}.png"),
        ("image/{}.jpg", "mask/{}.png"),
        ("Images/{}.jpg", "Masks/{}.png"),
        ("a/images/{}.jpg", "a/true_masks/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
        ("leftImg8bit/val/ulm/ulm_{}_leftImg8bit.png", "gtFine/val/ulm/ulm_{}_gtFine_labelIds.png"),
        ("train/{}.jpg", "train_labels/{}.png"),
        ("train_images/{}.jpg", "train_masks/{}.png"),
        ("test/{}.png", "testannot/{}.png"),
        ("val/images/{}.jpg", "val/labels/{}.png"),
        ("{}.jpg", "{}_seg.png"),
        ("{}.jpg", "{}_L.png"),
        ("{}.png", "{}_mask.png"),
        ("{}_sat.jpg", "{}_mask.png"),
        ("x/img_{}.jpg", "x/mask_{}.png"),
        ("images/img{}.jpg", "masks/mask{}.png"),
        ("images2/{}.jpg", "masks2/{}.png"),
        ("{}/img.png", "{}/label.png"),
        ("img/{}.jpg", "masks_human/{}.jpg.png"),
        ("images/{}.jpg", "masks/{}_mask.tif"),
        # Nothing in these names says what they are.
        ("photos/{}.jpg", "out/{}.png"),
        ("{}.jpg", "{}.png"),
        ("{}.jpg", "{}_xyz.png"),
        ("a/day/{}.jpg", "b/day/{}.png"),
    ],
)
def test_label_maps_are_the_ground_truth_wherever_they_lie(
    tmp_path: Path, scenes: Path, open_here: Open, image: str, mask: str
) -> None:
    rows, surveyed = survey(open_here(write(tmp_path / "in", scenes, image, mask), clusters=6))
    assert len(rows) == COUNT
    for number, (row, classes) in enumerate(zip(rows, truth(rows, surveyed), strict=True)):
        assert row["mask_fault"] is None
        np.testing.assert_array_equal(classes, scene_ids(scenes, number))


def test_more_label_maps_of_an_image_are_left_out_and_said(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    stem = "leftImg8bit/val/ulm/ulm_{}_leftImg8bit.png", "gtFine/val/ulm/ulm_{}_gtFine_"
    write(tmp_path / "in", scenes, stem[0], stem[1] + "instanceIds.png", lambda ids, number: png(ids * 7))
    write(tmp_path / "in", scenes, stem[0], stem[1] + "color.png", lambda ids, number: png(COLOURS[ids]))
    run = open_here(write(tmp_path / "in", scenes, stem[0], stem[1] + "labelIds.png"), clusters=6)
    assert list(run.listing.passed_over.values()).count(LABEL_MAP) == 2 * COUNT
    assert any("this looks like Cityscapes" in note for note in run.listing.ground_truth)
    rows, surveyed = survey(run)
    assert len(rows) == COUNT
    np.testing.assert_array_equal(truth(rows, surveyed)[3], scene_ids(scenes, 3))


def test_a_data_set_whose_layout_is_known_is_named(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    ade = write(tmp_path / "ade", scenes, "images/training/{}.jpg", "annotations/training/{}.png")
    assert any("this looks like ADE20K" in note for note in open_here(ade, clusters=6).listing.ground_truth)
    camvid = write(tmp_path / "camvid", scenes, "train/{}.jpg", "trainannot/{}.png")
    notes = open_here(camvid, clusters=6).listing.ground_truth
    assert any("this looks like CamVid: --dataset camvid" in note for note in notes)
    assert not any("looks like" in note for note in open_here(scenes, clusters=6).listing.ground_truth)


def test_no_folder_of_photographs_is_taken_for_label_maps(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    write(tmp_path / "in", scenes, "carnival/masks/{}.jpg")
    write(tmp_path / "in", scenes, "carnival/hats/{}.jpg")
    write(tmp_path / "in", scenes, "carnival/{}.jpg")
    write(tmp_path / "in", scenes, "carnival/{}_gt.jpg")
    run = open_here(tmp_path / "in", clusters=2)
    assert (run.listing.images, run.listing.labelled, run.listing.ground_truth) == (4 * COUNT, False, ())


@pytest.mark.parametrize("masks", [None, "none"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(("one", "other"), [("photos/{}_L", "photos/{}_R"), ("images/{}", "images/{}_original_label")])
def test_photographs_among_images_that_a_word_calls_label_maps_are_images(
    tmp_path: Path, scenes: Path, open_here: Open, one: str, other: str, suffix: str, masks: str | None
) -> None:
    for name in (one, other):
        write(tmp_path / "in", scenes, name + suffix)
    listing = open_here(tmp_path / "in", clusters=2, ingest={"masks": masks}).listing
    assert (listing.images, listing.labelled) == (2 * COUNT, False)


def test_grey_photographs_that_share_names_are_images(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    for camera in ("left", "right"):
        for number in range(COUNT):
            grey = Image.open(scenes / "images" / f"scene_{number:04d}.jpg").convert("L")
            (tmp_path / "in" / camera).mkdir(parents=True, exist_ok=True)
            grey.save(tmp_path / "in" / camera / f"{number}.png")
    assert open_here(tmp_path / "in", clusters=2).listing.images == 2 * COUNT


def test_grey_files_that_may_be_masks_end_the_run_before_it_starts(
    tmp_path: Path, scenes: Path, open_here: Open
) -> None:
    def depth(ids: np.ndarray, number: int) -> bytes:
        # A ramp with noise: no few values, and no picture in colours.
        ramp = np.linspace(0, 200, ids.size).reshape(ids.shape) + np.random.default_rng(number).integers(
            0, 50, ids.shape
        )
        return png(ramp.astype(np.uint8))

    source = write(tmp_path / "in", scenes, "rgb_cam/{}.jpg", "other/{}.png", depth)
    with pytest.raises(UsageError, match=r"is other/0000\.png the mask of rgb_cam/0000\.jpg\?.*--masks none"):
        open_here(source, clusters=2)
    run = open_here(source, clusters=2, masks="none", name="without")
    assert (run.listing.images, run.listing.labelled) == (COUNT, False)


def test_label_maps_that_fit_no_image_end_the_run_before_it_starts(
    tmp_path: Path, scenes: Path, open_here: Open
) -> None:
    source = write(tmp_path / "in", scenes, "photos/{}.jpg")
    write(tmp_path / "maps", scenes, "photos/{}.jpg", "labels/seg-a{}.png")
    shutil.copytree(tmp_path / "maps" / "labels", source / "labels")
    with pytest.raises(UsageError, match=r"no mask in labels/ is named like an image.*--masks none"):
        open_here(source, clusters=2)
    assert open_here(source, clusters=2, masks="none", name="without").listing.images == COUNT


@pytest.mark.parametrize("pattern", ["things", "things/", "things/*.png", "t_*.png", "**/t_*"])
def test_a_pattern_names_the_ground_truth(tmp_path: Path, scenes: Path, open_here: Open, pattern: str) -> None:
    source = write(tmp_path / "in", scenes, "photos/{}.jpg", "masks/{}.png", lambda ids, number: png(ids * 0))
    write(source, scenes, "photos/{}.jpg", "things/t_{}.png")
    run = open_here(source, clusters=6, masks=pattern)
    assert list(run.listing.passed_over.values()).count(LABEL_MAP) == COUNT
    rows, surveyed = survey(run)
    assert len(rows) == COUNT
    np.testing.assert_array_equal(truth(rows, surveyed)[3], scene_ids(scenes, 3))


def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    with pytest.raises(UsageError, match=r"--masks nowhere fits none of 48 files in images, masks"):
        open_here(scenes, clusters=6, masks="nowhere")
    source = write(tmp_path / "in", scenes, "photos/{}.jpg")
    (source / "maps").mkdir()
    (source / "maps" / "other.png").write_bytes(png(scene_ids(scenes, 0)))
    with pytest.raises(UsageError, match=r"--masks maps fits 1 files, such as maps/other\.png, but none is named like"):
        open_here(source, clusters=6, masks="maps")


def test_no_masks_are_used_where_none_are_wanted(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    run = open_here(scenes, clusters=6, masks="none")
    assert (run.listing.images, run.listing.labelled) == (24, False)
    assert list(run.listing.passed_over.values()).count(NO_TRUTH) == 24
    assert not open_here(scenes, dataset="demo", clusters=6, masks="none", name="demo").listing.labelled
    rows = [{"image": (scenes / "images" / "scene_0000.jpg").read_bytes(), "mask": png(scene_ids(scenes, 0))}]
    (tmp_path / "shards").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "shards" / "a.parquet")
    assert open_here(tmp_path / "shards", clusters=6, name="with").listing.labelled
    assert not open_here(tmp_path / "shards", clusters=6, masks="none", name="without").listing.labelled


def test_what_a_pattern_names_is_no_image_of_a_training_without_labels_either(
    tmp_path: Path, scenes: Path, open_here: Open
) -> None:
    def depth(ids: np.ndarray, number: int) -> bytes:
        return png((np.add.outer(*map(np.arange, ids.shape)) % 200).astype(np.uint8))

    source = write(tmp_path / "in", scenes, "photos/{}.jpg", "x/{}_z.png", depth)
    listing = open_here(source, masks="x", labelled=False).listing
    assert (listing.images, listing.labelled) == (COUNT, False)
    assert list(listing.passed_over.values()) == [NO_TRUTH] * COUNT


@pytest.mark.parametrize(
    ("image", "mask", "third"),
    [
        ("image", "mask", None),
        ("image", "annotation", None),
        ("pixel_values", "label", None),
        ("img", "seg", "instances"),
    ],
)
def test_columns_of_shards_that_are_called_label_maps_are_that(
    tmp_path: Path, scenes: Path, open_here: Open, image: str, mask: str, third: str | None
) -> None:
    rows = []
    for number in range(COUNT):
        data = (scenes / "images" / f"scene_{number:04d}.jpg").read_bytes()
        maps = png(scene_ids(scenes, number))
        row = {mask: {"bytes": maps, "path": "m.png"}, image: {"bytes": data, "path": "i.jpg"}}
        rows.append({**row, third: maps} if third else row)
    (tmp_path / "in").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in" / "a.parquet")
    run = open_here(tmp_path / "in", clusters=6)
    assert run.listing.columns is not None
    assert run.listing.columns.image == f"{image}.bytes"
    rows, surveyed = survey(run)
    np.testing.assert_array_equal(truth(rows, surveyed)[3], scene_ids(scenes, 3))


def test_names_that_differ_in_case_and_unicode_form_are_pairs(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    source = write(tmp_path / "in", scenes, "images/Caf\u00e9{}.jpg", "masks/CAFE\u0301{}.PNG")
    rows, surveyed = survey(open_here(source, clusters=6))
    np.testing.assert_array_equal(truth(rows, surveyed)[3], scene_ids(scenes, 3))


def test_masks_of_large_images_are_looked_at_up_to_the_largest_size(
    tmp_path: Path, open_here: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datus2_ray.config.ingest.MAX_MEGAPIXELS", 1)
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3), np.uint8)
    ids = (np.arange(1200) // 400 * np.ones((1000, 1), int)).astype(np.uint8)
    for folder, pixels in (("photos", noise), ("x", ids)):
        (tmp_path / "in" / folder).mkdir(parents=True)
        (tmp_path / "in" / folder / "a.png").write_bytes(png(pixels))
    listing = open_here(tmp_path / "in", "ingest.max_megapixels=2").listing
    assert (listing.images, listing.labelled) == (1, True)
    assert "in 1 of them 3 classes" in listing.ground_truth[0]


def test_masks_that_shards_name_by_a_path_are_looked_at_before_a_run(
    tmp_path: Path, scenes: Path, open_here: Open
) -> None:
    source = write(tmp_path / "in", scenes, "images/{}.png", "gt/{}.png")
    write(source, scenes, "images/{}.png", "lossy/{}.jpg", lambda ids, number: encoded(Image.fromarray(ids), "JPEG"))

    def listing_of(mask: str) -> Listing:
        files = sorted((source / "images").iterdir())
        masks = [{"bytes": None, "path": mask.format(file.stem)} for file in files]
        pq.write_table(pa.table({"image": [file.read_bytes() for file in files], "mask": masks}), source / "a.parquet")
        return open_here(source, name=mask[:2], image_column="image").listing

    assert "ground truth in mask.bytes; in 8 of them 6 classes" in listing_of("gt/{}.png").ground_truth[0]
    with pytest.raises(UsageError, match=r"a\.parquet, row 0: JPEG .*--masks none"):
        listing_of("lossy/{}.jpg")


# ---- which ids are classes


def classes_found(run: Run) -> tuple[tuple[str, ...], list[np.ndarray]]:
    rows, surveyed = survey(run)
    assert surveyed is not None
    return surveyed.classes, truth(rows, surveyed)


def test_0_and_255_are_two_classes(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    def binary(ids: np.ndarray, number: int) -> bytes:
        return png(np.where(ids == 0, 255, 0).astype(np.uint8))

    names, drawn = classes_found(open_here(write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", binary)))
    assert names == ("class 0", "class 255")
    np.testing.assert_array_equal(drawn[3], scene_ids(scenes, 3) == 0)


@pytest.mark.parametrize(
    ("levels", "classes"), [((0, 128, 255), 3), ((0, 1, 255), 2), ((1, 2, 255), 2), ((0, 5, 9), 3)]
)
def test_255_is_void_unless_it_ends_levels_of_grey(
    tmp_path: Path, scenes: Path, open_here: Open, levels: tuple[int, ...], classes: int
) -> None:
    table = np.array([*levels, *levels], np.uint8)
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", lambda ids, number: png(table[ids]))
    names, drawn = classes_found(open_here(source))
    assert len(names) == classes
    expected = np.array([*range(classes), 255, 255], np.uint8)[scene_ids(scenes, 3) % 3]
    np.testing.assert_array_equal(drawn[3], expected)


def test_gaps_are_no_classes_and_void_can_be_named(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    gap = np.array([0, 1, 2, 4, 4, 4], np.uint8)
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", lambda ids, number: png(gap[ids]))
    names, drawn = classes_found(open_here(source))
    assert names == ("class 0", "class 1", "class 2", "class 4")
    np.testing.assert_array_equal(drawn[3], np.minimum(scene_ids(scenes, 3), 3))
    run = open_here(source, "ingest.ignore_id=[4]", name="named")
    names, drawn = classes_found(run)
    assert names == ("class 0", "class 1", "class 2")
    ids = scene_ids(scenes, 3)
    np.testing.assert_array_equal(drawn[3], np.where(ids < 3, ids, 255))


def repainted(ids: np.ndarray, number: int) -> bytes:
    """Number the colours anew in every file, as programs do that optimise palettes."""
    order = np.random.default_rng(number).permutation(6)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[ids])
    image.putpalette(COLOURS[order].tobytes())
    return encoded(image)


@pytest.mark.parametrize(
    "encode",
    [
        lambda ids, number: png(COLOURS[ids]),
        lambda ids, number: png(np.dstack([COLOURS[ids], np.full(ids.shape, 255, np.uint8)])),
        lambda ids, number: encoded(Image.fromarray(COLOURS[ids]), "BMP"),
        lambda ids, number: encoded(Image.fromarray(COLOURS[ids]), "WEBP", lossless=True),
        lambda ids, number: encoded(Image.fromarray(COLOURS[ids]).quantize(16), "GIF"),
        repainted,
    ],
)
def test_few_colours_are_classes(tmp_path: Path, scenes: Path, open_here: Open, encode: Encode) -> None:
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", encode)
    names, drawn = classes_found(open_here(source))
    assert len(names) == 6
    order = [names.index(f"colour #{red:02x}{green:02x}{blue:02x}") for red, green, blue in COLOURS.tolist()]
    np.testing.assert_array_equal(drawn[3], np.array(order)[scene_ids(scenes, 3)])


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("labelmap.txt", "{0}:{1},{2},{3}::"),
        ("class_dict.csv", "{0},{1},{2},{3}"),
        ("label_colors.txt", "{1} {2} {3}\t{0}"),
    ],
)
def test_a_palette_of_the_data_names_classes_and_their_order(
    tmp_path: Path, scenes: Path, open_here: Open, file: str, line: str
) -> None:
    def with_borders(ids: np.ndarray, number: int) -> bytes:
        pixels = COLOURS[ids]
        pixels[:3] = (1, 2, 3)  # in no palette: void
        return png(pixels)

    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", with_borders)
    titles = ["sky", "high grass", "water", "house", "tree", "animal"]
    lines = [line.format(title, *colour) for title, colour in zip(titles, COLOURS.tolist(), strict=True)]
    (source / file).write_text("\n".join(["# label:color_rgb:parts:actions", "name,r,g,b", *lines]))
    run = open_here(source)
    assert file not in run.listing.passed_over
    names, drawn = classes_found(run)
    assert names == tuple(titles)
    expected = scene_ids(scenes, 3)
    expected[:3] = 255
    np.testing.assert_array_equal(drawn[3], expected)


def test_the_border_of_vocs_colours_is_void(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    voc = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (192, 0, 128), (224, 224, 192)], np.uint8)
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", lambda ids, number: png(voc[ids]))
    names, drawn = classes_found(open_here(source))
    assert len(names) == 5
    ids = scene_ids(scenes, 3)
    np.testing.assert_array_equal(drawn[3], np.where(ids < 5, ids, 255))


def blurred(ids: np.ndarray, number: int) -> Image.Image:
    small = Image.fromarray(np.where(ids == 0, 255, 0).astype(np.uint8)).resize((90, 90))
    return small.resize(ids.shape[::-1], Image.Resampling.BILINEAR)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda ids, number: encoded(blurred(ids, number)), "soft edges"),
        (lambda ids, number: encoded(blurred(ids, number).convert("RGB")), "soft edges"),
        (
            lambda ids, number: encoded(Image.fromarray(COLOURS[ids]).resize((99, 90)).resize(ids.shape[::-1])),
            "soft edges",
        ),
        (lambda ids, number: encoded(blurred(ids, number), "JPEG"), "JPEG"),
        (lambda ids, number: png(ids.astype(np.uint16) + 6 * number), "instances"),
        (lambda ids, number: png(np.arange(ids.size, dtype=np.uint16).reshape(ids.shape)), "instances"),
    ],
)
def test_what_has_no_classes_is_refused_before_anything_is_computed(
    tmp_path: Path, scenes: Path, open_here: Open, encode: Encode, message: str
) -> None:
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", encode)
    with pytest.raises(UsageError, match=rf"{message}.*--masks none"):
        open_here(source)
    assert open_here(source, clusters=3, masks="none", name="without").listing.images == COUNT


def test_a_mask_that_cannot_be_used_costs_no_image(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    def some(ids: np.ndarray, number: int) -> bytes:
        if number == 0:
            return b""
        if number == 1:
            return png(ids[:-9])
        return encoded(Image.fromarray(ids), "JPEG") if number == 2 else png(ids)

    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", some)
    rows, surveyed = survey(open_here(source))
    assert [decode(row["image"]).shape[2] for row in rows] == [3] * COUNT
    assert [row["mask"] is None for row in rows] == [True] * 3 + [False] * (COUNT - 3)
    assert surveyed is not None
    assert surveyed.labelled == COUNT - 3
    assert surveyed.unusable == {"mask_format": 1, "mask_size": 1, "mask_unreadable": 1}
    assert surveyed.example.startswith("0000: mask_unreadable: ")
    assert "masks that cannot be used: 3 (mask_format 1, mask_size 1, mask_unreadable 1)" in surveyed.describe()[1]


def test_one_class_is_no_score(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", lambda ids, number: png(ids * 0 + 3))
    run, _ = execute(open_here(source, clusters=3), (INGEST, SURVEY))
    assert not run.labelled
    assert run.unscored == "the ground truth has fewer than two classes"
    assert run.prospect.unscored == run.unscored
    assert run.k == 3
    with pytest.raises(UsageError, match="no classes to count"):
        execute(open_here(source, name="counted"), (INGEST, SURVEY))


def test_a_folder_of_label_maps_alone_is_said_to_look_so(tmp_path: Path, scenes: Path, open_here: Open) -> None:
    write(tmp_path / "in", scenes, "x/{}.jpg", "y/{}.png")
    notes = open_here(tmp_path / "in" / "y", clusters=2).listing.ground_truth
    assert notes == (
        f"{COUNT} of {COUNT} images looked at have few values, as label maps have, such as 0000.png: if they are, give "
        "the folder of their images",
    )
    assert open_here(tmp_path / "in" / "x", clusters=2, name="photos").listing.ground_truth == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_names_of_classes_are_read_in_other_encodings(
    tmp_path: Path, scenes: Path, open_here: Open, encoding: str
) -> None:
    source = write(tmp_path / "in", scenes, "images/{}.jpg", "masks/{}.png", lambda ids, number: png(COLOURS[ids]))
    names = ["Straße", "Bäume", "c", "d", "e", "f"]
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(names, COLOURS, strict=True)]
    (source / "labelmap.txt").write_bytes("\r\n".join(lines).encode(encoding))
    assert [name for name, _ in open_here(source, clusters=6).listing.palette] == names


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("shard-000000.tar", "unpack archives first"),
        ("data-00000-of-00001.arrow", "write Arrow files as Parquet"),
        ("train.npz", "write arrays and records as PNG, or as Parquet"),
    ],
)
def test_files_that_hold_images_in_other_forms_come_with_a_remedy(
    tmp_path: Path, open_here: Open, name: str, remedy: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"")
    with pytest.raises(UsageError, match=rf"passed over 1 file, .* {Path(name).suffix} 1.*; {remedy}"):
        open_here(tmp_path / "in", clusters=2)
