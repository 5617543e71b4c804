"""Corrected masks come back: as names that draw them, in one change, and as scores of what there was before."""

from __future__ import annotations

import json
import shutil
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.annotations import import_annotations
from datus2_ray.commands.export import export
from datus2_ray.commands.name import take_names
from datus2_ray.commands.run import run
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import storage
from datus2_ray.store.names import read_names, undo
from datus2_ray.store.names_history import read_history
from datus2_ray.store.run_folder import RunFolder
from tests.commands.conftest import few_images


def masks_of(folder: str) -> dict[str, np.ndarray]:
    files = sorted(Path(folder, "masks").glob("*.png"))
    return {file.name: np.asarray(Image.open(file)) for file in files}


@pytest.fixture
def out(here: None, small_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.fixture
def named(out: Path, tmp_path: Path) -> Path:
    """Return a run of which most clusters have one of two names."""
    file = tmp_path / "names.yaml"
    file.write_text("classes: [land, sky]\nclusters: {land: [0, 1, 2, 3], sky: [4, 5, 6, 7, 8]}")
    take_names(str(out), str(file))
    return out


def test_masks_that_nobody_changed_change_nothing(named: Path) -> None:
    names = read_names(RunFolder(str(named)))
    for kind, file in (("coco", "annotations/train.json"), ("cvat", "annotations.zip")):
        path = storage.join(export(str(named), kind), file)
        imported = import_annotations(str(named), path, kind)  # type: ignore[arg-type]
        assert (imported.images, imported.unknown) == (8, ())
        assert imported.scores["pixel_accuracy"] == imported.scores["miou"] == 1
        assert (imported.clusters, imported.segments) == (0, 0)
        assert read_names(RunFolder(str(named))) == names


def test_masks_of_pages_find_their_pages_again(here: None, scenes: Path, tmp_path: Path) -> None:
    pages = [Image.open(file) for file in sorted((scenes / "images").iterdir())[:8]]
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in" / "stack.tif", save_all=True, append_images=pages[1:])
    out = str(tmp_path / "out")
    run(few_images(tmp_path / "in", out))
    exported = Path(export(out, "coco"), "annotations", "train.json")
    assert import_annotations(out, str(exported), "coco").scores["pixel_accuracy"] == 1
    coco = json.loads(exported.read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"stack/page-000{n}.tif" for n in range(1, 9)]
    for image in coco["images"]:
        image["file_name"] = "stack.tif"
    (tmp_path / "old.json").write_text(json.dumps(coco))
    with pytest.raises(
        UsageError, match=r"old\.json has several images of the file_name stack\.tif; give each its own"
    ):
        import_annotations(out, str(tmp_path / "old.json"), "coco")


def test_what_was_corrected_is_in_the_next_masks(named: Path, tmp_path: Path) -> None:
    folder = RunFolder(str(named))
    before = masks_of(export(str(named), "png"))
    archive = Path(export(str(named), "cvat"), "annotations.zip")
    # In two images all of the sky becomes another class, which the run has no name for.
    sink, expected = BytesIO(), dict(before)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(sink, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "labelmap.txt":
                data += b"cloud:1,2,3::\n"
            if name.endswith(("0000.png", "0001.png")):
                image = np.array(Image.open(BytesIO(data)))
                image[before[Path(name).name] == 1] = (1, 2, 3)
                expected[Path(name).name] = np.where(before[Path(name).name] == 1, 2, before[Path(name).name])
                png = BytesIO()
                Image.fromarray(image).save(png, format="PNG")
                data = png.getvalue()
            new.writestr(name, data)
        new.writestr("SegmentationClass/other.png", old.read("SegmentationClass/scene_0000.png"))
    (tmp_path / "corrected.zip").write_bytes(sink.getvalue())

    imported = import_annotations(str(named), str(tmp_path / "corrected.zip"), "cvat")
    assert imported.unknown == ("other.png",)
    assert imported.segments > 0
    assert 0.5 < imported.scores["pixel_accuracy"] < 1
    after = masks_of(export(str(named), "png"))
    assert [named.name for named in read_names(folder).classes] == ["land", "sky", "cloud"]
    for name, mask in expected.items():
        np.testing.assert_array_equal(after[name], mask)
    # What was drawn is kept, as ground truth for whoever wants it.
    np.testing.assert_array_equal(
        masks_of(imported.uri)["scene_0000.png"], np.where(before["scene_0000.png"] == 1, 2, before["scene_0000.png"])
    )
    assert Path(imported.uri, "labels.txt").read_text().split() == ["land", "sky", "cloud"]
    assert json.loads(Path(imported.uri, "scores.json").read_text())["images"] == 8

    # It is one change, which can be undone.
    undo(folder, len(read_history(folder)))
    assert [named.name for named in read_names(folder).classes] == ["land", "sky"]
    for name, mask in masks_of(export(str(named), "png")).items():
        np.testing.assert_array_equal(mask, before[name])


def test_masks_of_a_run_without_names_name_its_clusters(out: Path, tmp_path: Path) -> None:
    clusters = masks_of(export(str(out), "png"))
    file = Path(export(str(out), "coco"), "annotations", "train.json")
    coco = json.loads(file.read_text())
    # Two categories of the same name are one class.
    titles = ["sky", "land", "Sky", "tree", "sea"]
    for category, title in zip(coco["categories"], titles, strict=True):
        category["name"] = title
    (tmp_path / "named.json").write_text(json.dumps(coco))
    imported = import_annotations(str(out), str(tmp_path / "named.json"), "coco")
    assert imported.scores["set"] == "label"
    assert imported.segments == 0
    named = Path(export(str(out), "png"))
    assert (named / "labels.txt").read_text().splitlines() == ["sky", "land", "tree", "sea"]
    expected = np.array([0, 1, 0, 2, 3, *[255] * 251])
    for name, mask in masks_of(str(named)).items():
        np.testing.assert_array_equal(mask, expected[clusters[name]])


def test_masks_of_names_that_were_taken_back_are_not_scored(named: Path) -> None:
    file = Path(export(str(named), "coco"), "annotations", "train.json")
    undo(RunFolder(str(named)), 1)
    imported = import_annotations(str(named), str(file), "coco")
    assert imported.scores["set"] == "label"
    assert imported.scores["by_name"] == 0


def test_drawn_masks_are_the_ground_truth_of_another_run(named: Path, scenes: Path, tmp_path: Path) -> None:
    corrected = json.loads(Path(export(str(named), "coco"), "annotations", "train.json").read_text())
    kept = [image["id"] for image in corrected["images"]][:3]
    corrected["images"] = corrected["images"][:3]
    corrected["annotations"] = [one for one in corrected["annotations"] if one["image_id"] in kept]
    (tmp_path / "corrected.json").write_text(json.dumps(corrected))
    summary = storage.read_json(str(named / "summary.json"))
    imported = import_annotations(str(named), str(tmp_path / "corrected.json"), "coco")
    assert (imported.images, storage.read_json(str(named / "summary.json"))["metrics"]) == (3, summary["metrics"])
    # As docs/export.md has it.
    shutil.copytree(scenes / "images", tmp_path / "source" / "images")
    shutil.copytree(Path(imported.uri, "masks"), tmp_path / "source" / "masks")
    scored = run(few_images(tmp_path / "source", tmp_path / "other"))
    assert (scored["images"], scored["metrics"]["images"], len(scored["metrics"]["classes"])) == (8, 3, 2)


def test_nothing_changes_where_something_cannot_be_imported(named: Path, tmp_path: Path) -> None:
    names = read_names(RunFolder(str(named)))
    file = Path(export(str(named), "coco"), "annotations", "train.json")
    coco = json.loads(file.read_text())

    def refused(message: str) -> None:
        (tmp_path / "bad.json").write_text(json.dumps(coco))
        with pytest.raises(UsageError, match=message):
            import_annotations(str(named), str(tmp_path / "bad.json"), "coco")
        assert read_names(RunFolder(str(named))) == names

    coco["annotations"][-1]["segmentation"]["counts"] = [1, 2, 3]
    refused("scene_0007.jpg: .*do not fill the image; nothing was imported")
    coco["images"] = [{**image, "file_name": f"x{image['file_name']}"} for image in coco["images"]]
    refused("has no image of .*: it has xscene_0000.jpg")
    with pytest.raises(StorageError, match="is no finished run"):
        import_annotations(str(tmp_path / "nothing"), str(file), "coco")


def test_the_command_line_prints_what_an_import_brought(named: Path) -> None:
    file = Path(export(str(named), "coco"), "annotations", "train.json")
    result = CliRunner().invoke(app, ["import", str(named), "--coco", str(file)])
    assert result.exit_code == 0
    assert "8 images, of which the named masks agreed in 100.0 % of the pixels (mIoU 100.0)" in result.stdout
    assert "named: 0 clusters, 0 single segments" in result.stdout
    assert "no area" not in result.stdout
    coco = json.loads(file.read_text())
    coco["annotations"].append({"id": 0, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]})
    boxed = named / "boxed.json"
    boxed.write_text(json.dumps(coco))
    result = CliRunner().invoke(app, ["import", str(named), "--coco", str(boxed)])
    assert "1 annotations of the file have no area, such as boxes, and are passed over" in result.stdout
    for line in ([], ["--coco", "a", "--cvat", "b"]):
        refused = CliRunner().invoke(app, ["import", str(named), *line])
        assert isinstance(refused.exception, UsageError)
