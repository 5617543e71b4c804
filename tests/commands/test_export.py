"""Exports of a finished run and of predicted masks: beside what is there, and as often as they are asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import datus2_ray
from datus2_ray.cli.app import app
from datus2_ray.commands.clean import clean
from datus2_ray.commands.export import export
from datus2_ray.commands.name import take_names
from datus2_ray.commands.run import run
from datus2_ray.config.load import load
from datus2_ray.errors import DatusError, StorageError, UsageError
from datus2_ray.exports import FORMATS
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Exported, Labelled
from datus2_ray.store.run_folder import RunFolder
from tests.commands.conftest import few_images


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


@pytest.fixture
def out(here: None, small_run: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def test_an_export_adds_to_a_finished_run_and_changes_nothing_in_it(out: Path, scenes: Path, tmp_path: Path) -> None:
    before, current = files_of(out), RunFolder(str(out)).current()
    folder = Path(export(str(out), "coco"))
    assert folder.is_relative_to(out / "export")
    after = files_of(out)
    changed = {name for name, what in before.items() if after[name] != what}
    assert changed <= {"run.json", "events.jsonl", "_LEASE.json"}
    assert {name for name in after if not name.startswith("export/")} == set(before)
    stages = RunFolder(str(out)).current()
    assert {name: stages[name] for name in current} == current

    # The same once more does nothing, another format lies beside it, and the run is still what it was.
    times = files_of(folder)
    assert export(str(out), "coco") == str(folder)
    assert files_of(folder) == times
    other = Path(export(str(out), "yolo", splits={"train": 0.5, "val": 0.5}))
    assert files_of(folder) == times
    assert {path.name for path in (other / "images").iterdir()} <= {"train", "val"}
    stages = RunFolder(str(out)).current()
    run(few_images(scenes / "images", out))
    assert RunFolder(str(out)).current() == stages
    assert files_of(folder) == times


def test_the_masks_of_a_run_are_in_its_export(out: Path, scenes: Path, tmp_path: Path) -> None:
    coco = json.loads(Path(export(str(out), "coco"), "annotations", "train.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"scene_{i:04d}.jpg" for i in range(8)]
    labelled = RunFolder(str(out)).require(Labelled)
    masks = [row for part in sorted(labelled.parts) for row in parquet.read_table(labelled.path(part)).to_pylist()]
    areas = {(each["image_id"], each["category_id"] - 1): each["area"] for each in coco["annotations"]}
    for number, row in enumerate(masks, 1):
        folder = tmp_path / "mask.png"
        folder.write_bytes(row["mask"])
        values, counts = np.unique(np.asarray(Image.open(folder)), return_counts=True)
        found = zip(values.tolist(), counts.tolist(), strict=True)
        expected = {(number, value): count for value, count in found if value < 255}
        assert {key: area for key, area in areas.items() if key[0] == number} == expected


def test_predicted_masks_are_exported_too(out: Path, scenes: Path, tmp_path: Path) -> None:
    pictures = Path(datus2_ray.predict(str(out), str(scenes / "images"), str(tmp_path / "masks"), limit=8))
    again = Path(export(str(tmp_path / "masks"), "png"))
    assert again / "masks" == pictures
    of_run = Path(export(str(out), "png"))
    assert {name: data for name, (_, data) in files_of(of_run).items()} == {
        name: data for name, (_, data) in files_of(again).items()
    }


def test_an_export_for_datasets_is_a_source_with_ground_truth(out: Path, scenes: Path, tmp_path: Path) -> None:
    folder = export(str(out), "hf")
    again = tmp_path / "again"
    run(few_images(folder, again))
    first, second = (RunFolder(str(place)).require(Labelled) for place in (out, again))
    for part in first.parts:
        assert parquet.read_table(first.path(part)).equals(parquet.read_table(second.path(part)))
    # Its ground truth is what the same run finds.
    assert storage.read_json(str(again / "metrics.json"))["initial"]["one_to_one"]["pixel_accuracy"] == 1


def test_an_export_of_a_run_that_is_relabelled_is_not_current_and_cleaned_away(
    out: Path, scenes: Path, tmp_path: Path
) -> None:
    folder = RunFolder(str(out))
    export(str(out), "png")
    first = folder.require(Exported)
    datus2_ray.relabel(str(out), 4)
    assert folder.find(Exported) is None
    export(str(out), "png")
    second = folder.require(Exported)
    assert second.uri != first.uri
    assert first.uri in {item.uri for item in clean(str(out))}
    assert Path(second.path("png", "masks", "scene_0000.png")).is_file()


def test_the_command_line_takes_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(
        "datus2_ray.commands.export.export", lambda *given, **more: taken.append((*given, more)) or "FOLDER"
    )
    line = [
        "export",
        "RUN",
        "--format",
        "label-studio",
        "--masks",
        "initial",
        "--instances",
        "--min-area",
        "9",
        "--min-confidence",
        "0.5",
    ]
    line += ["--splits", "train=0.8, val=0.2", "--image-url", "s3://b/"]
    result = CliRunner().invoke(app, line)
    assert (result.exit_code, result.stdout) == (0, "FOLDER\n")
    settings = {"masks": "initial", "instances": True, "min_area": 9, "min_confidence": 0.5, "image_url": "s3://b/"}
    assert taken == [("RUN", "label-studio", {**settings, "splits": {"train": 0.8, "val": 0.2}})]


def test_names_are_those_of_now(out: Path, scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    titles = []
    for text in ("clusters: {land: [0, 1, 2, 3, 4, 5], sky: [6, 7, 8]}", "clusters: {land: [0, 1], water: [6, 7, 8]}"):
        classes = [name for name in ("land", "sky", "water") if name in text]
        file.write_text(f"classes: [{', '.join(classes)}]\n{text}")
        take_names(str(out), str(file))
        folder = Path(export(str(out), "png"))
        titles.append((folder / "labels.txt").read_text().split())
    assert titles == [["land", "sky"], ["land", "water"]]
    clusters = Path(export(str(out), "png", masks="initial"))
    assert (clusters / "labels.txt").read_text().splitlines()[0] == "cluster 0"
    file.write_text("classes: [land]")
    take_names(str(out), str(file))
    assert "cluster 0" in Path(export(str(out), "png"), "labels.txt").read_text()


def test_masks_of_clusters_are_exported_whatever_is_named(out: Path) -> None:
    clusters = export(str(out), "coco", masks="initial")
    before = files_of(Path(clusters))
    # As after another seed in the same folder, and damaged by hand.
    for text, message in (
        (
            "clustering: 0123456789ab\nclasses: [land]\nclusters: {land: [0]}",
            "clustering 0123456789ab, and this run has",
        ),
        ("classes: [land]\nclusters: {sea: [0]}", "unknown class 'sea'"),
    ):
        (out / "names.yaml").write_text(text)
        for masks in (None, "named", "taught"):
            with pytest.raises(UsageError, match=f"{message}.*; --masks initial exports the masks of clusters"):
                export(str(out), "coco", masks=masks)
        assert export(str(out), "coco", masks="initial") == clusters
        assert files_of(Path(clusters)) == before


def test_what_cannot_be_exported_is_refused_in_one_line(out: Path, scenes: Path, tmp_path: Path) -> None:

    def refused(error: type[DatusError], message: str, place: Path = out, name: str = "png", **settings: Any) -> None:
        with pytest.raises(error, match=message) as caught:
            export(str(place), name, **settings)
        assert len(str(caught.value).splitlines()) == 1

    refused(UsageError, "setting export.format = 'voc': input should be 'png', 'coco'", name="voc")
    refused(UsageError, "export.splits: give names of letters and positive shares", splits={"train/x": 1.0})
    refused(UsageError, "export.splits: give names of letters and positive shares", splits={"train": 0.0})
    refused(UsageError, "setting export.min_area = -1", min_area=-1)
    refused(UsageError, "has no refined masks; it has initial", masks="refined")
    refused(StorageError, "is no run folder", tmp_path / "nothing")
    assert {part.name for part in (out / "export").glob("*")} <= set() or not (out / "export").exists()
    (out / "summary.json").unlink()
    refused(StorageError, "is no finished run, it has no summary.json")


def test_a_flag_of_splits_that_cannot_be_read_is_refused() -> None:
    result = CliRunner().invoke(app, ["export", "RUN", "--format", "png", "--splits", "train"])
    assert isinstance(result.exception, UsageError)
    assert "--splits train: give names and shares" in str(result.exception)


def test_every_format_is_one_that_the_settings_know() -> None:
    for name in FORMATS:
        assert load({"source": "/a", "out": "/b", "export": {"format": name}}).export.format == name
    with pytest.raises(UsageError, match="save_png was removed: use `datus2 export RUN --format png`"):
        load({"source": "/a", "out": "/b"}, assignments=["save_png=true"])
