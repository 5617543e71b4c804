"""A finished run in a notebook: tables, masks and names, as the files have them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import datus2_ray
from datus2_ray.commands.load import LoadedRun
from datus2_ray.core.images.decode import decode
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.images.palette import palette
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import parquet
from datus2_ray.store.facts import Discovered, Ingested, Labelled, Named, Predicted, TaughtMasks
from datus2_ray.store.names_history import read_history
from tests.commands.conftest import few_images

NOTEBOOK = Path(__file__).parents[2] / "docs" / "names.ipynb"


@pytest.fixture
def run(run_to_name: str, tmp_path: Path, here: None) -> LoadedRun:
    shutil.copytree(run_to_name, tmp_path / "run")
    return datus2_ray.load(str(tmp_path / "run"))


def rows(run: LoadedRun, facts: type[Any]) -> list[dict[str, Any]]:
    commit = run.folder.require(facts)
    return pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]).to_pylist()


def test_tables_are_those_of_the_stages(run: LoadedRun) -> None:
    images, segments = run.images(), run.segments()
    of_images, labels = rows(run, Discovered), rows(run, Labelled)
    assert images.to_pylist() == [
        {**{name: row[name] for name in ("image_id", "height", "width")}, "segments": len(row["sizes"])}
        for row in of_images
    ]
    flat = [
        {
            "image_id": row["image_id"],
            "segment": number,
            "patches": image["sizes"][number],
            "cluster": row["segment_clusters"][number],
            "fine": row["segment_fine"][number],
            "distance": row["segment_distances"][number],
            "second": row["segment_second"][number],
            "second_distance": row["segment_second_distances"][number],
            "name": None,
        }
        for image, row in zip(of_images, labels, strict=True)
        for number in range(len(image["sizes"]))
    ]
    assert segments.to_pylist() == flat
    assert all(run.members[row["fine"]] == row["cluster"] for row in flat)
    assert f"{len(flat)} segments" in repr(run)


def test_masks_are_those_of_the_stages_and_named_ones_are_made_when_asked_for(run: LoadedRun) -> None:
    stages = {"initial": Labelled, "refined": Predicted, "truth": Ingested}
    for masks, facts in stages.items():
        for row in rows(run, facts):
            np.testing.assert_array_equal(run.mask(row["image_id"], masks), decode_labels(row["mask"]))
    first = rows(run, Ingested)[0]
    np.testing.assert_array_equal(run.image(first["image_id"]), decode(first["image"]))
    np.testing.assert_array_equal(run.mask(first["image_id"]), run.mask(first["image_id"], "refined"))
    with pytest.raises(UsageError, match="has no names"):
        run.mask(first["image_id"], "named")

    run.name_clusters(np.flatnonzero(run.members == 0), "thing")
    run.name_clusters(np.flatnonzero(run.members == 1), "stuff")
    names = run.name_segments(first["image_id"], [0], "mine")
    assert (names, len(read_history(run.folder))) == (run.names, 3)
    assert set(run.segments()["name"].to_pylist()) == {"thing", "stuff", "mine", None}
    datus2_ray.name(run.folder.uri, teach=True)
    for row in rows(run, Named):
        np.testing.assert_array_equal(run.mask(row["image_id"]), decode_labels(row["mask"]))
    for row in rows(run, TaughtMasks):
        np.testing.assert_array_equal(run.mask(row["image_id"], "taught"), decode_labels(row["mask"]))
    # Named masks follow the names, whatever was written before.
    run.name_clusters(range(len(run.members)), "thing")
    run.name_segments(first["image_id"], [0], None)
    assert set(np.unique(run.mask(first["image_id"]))) == {0}


def test_without_a_set_a_mask_is_refused_where_the_names_are_of_another_clustering(run: LoadedRun) -> None:
    image_id = run.images()["image_id"][0].as_py()
    clusters = {masks: run.mask(image_id, masks) for masks in ("initial", "refined")}
    Path(run.folder.path("names.yaml")).write_text("clustering: other\nclasses: [land]\nclusters: {land: [0]}")
    for look in (run.mask, run.show):
        with pytest.raises(
            UsageError, match=r"of clustering other, and this run .*; masks='refined' is the mask of clu"
        ):
            look(image_id)
    for masks, mask in clusters.items():
        np.testing.assert_array_equal(run.mask(image_id, masks), mask)
        run.show(image_id, masks)


@pytest.mark.parametrize("by_colour", [False, True])
def test_ground_truth_has_the_numbers_of_its_classes(here: None, scenes: Path, tmp_path: Path, by_colour: bool) -> None:
    source, codes = tmp_path / "source", np.array([17, 40, 41, 90, 200, 230], np.uint8)
    for folder in ("images", "masks"):
        (source / folder).mkdir(parents=True)
    expected = {}
    for file in sorted((scenes / "masks").glob("*.png"))[:3]:
        ids = np.asarray(Image.open(file))
        assert ids.max() < len(codes)
        kept = np.stack([codes[ids], 255 - codes[ids], codes[ids]], axis=-1) if by_colour else codes[ids]
        Image.fromarray(kept).save(source / "masks" / file.name)
        shutil.copy(scenes / "images" / f"{file.stem}.jpg", source / "images")
        expected[file.stem] = ids
    datus2_ray.run(few_images(source, tmp_path / "out"))
    found = datus2_ray.load(str(tmp_path / "out"))
    present = np.unique(np.concatenate([ids.ravel() for ids in expected.values()]))
    assert len(found.classes) == len(present)
    for image_id, ids in expected.items():
        truth = found.mask(image_id, "truth")
        np.testing.assert_array_equal(truth, np.searchsorted(present, ids))
        shown = np.asarray(found.show(image_id, "truth", opacity=1.0))
        np.testing.assert_array_equal(shown, palette(len(present))[truth])


def test_a_picture_has_the_colours_of_the_mask(run: LoadedRun) -> None:
    image_id = run.images()["image_id"][0].as_py()
    run.name_clusters(np.flatnonzero(run.members == run.mask(image_id)[0, 0]), "thing")
    mask, pixels = run.mask(image_id), run.image(image_id)
    shown = np.asarray(run.show(image_id, opacity=1.0))
    assert shown.shape == pixels.shape
    colour = list(bytes.fromhex(run.names.classes[0].colour[1:]))
    assert (shown[mask == 0] == colour).all()
    assert (shown[mask == 255] == pixels[mask == 255]).all()
    np.testing.assert_array_equal(np.asarray(run.show(image_id, "initial", 0.0)), pixels)


def test_what_is_not_there_is_said(run: LoadedRun, tmp_path: Path) -> None:
    image_id = run.images()["image_id"][0].as_py()
    with pytest.raises(UsageError, match=r"has no image 'nothing' with a mask; images\(\) lists them"):
        run.mask("nothing")
    with pytest.raises(UsageError, match="unknown masks 'final'; there are initial, refined, named"):
        run.mask(image_id, "final")
    with pytest.raises(UsageError, match="has no mask 'taught'"):
        run.mask(image_id, "taught")
    with pytest.raises(UsageError, match="fine cluster 99 is named"):
        run.name_clusters([99], "thing")
    assert run.names.is_empty
    with pytest.raises(StorageError, match="is no finished run"):
        datus2_ray.load(str(tmp_path / "nothing"))


def test_it_needs_neither_ray_nor_torch() -> None:
    code = "import sys, datus2_ray; datus2_ray.load; print({'ray', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_notebook_runs(run: LoadedRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert "demo/run" in "".join(cells[0]["source"])
    (tmp_path / "demo").mkdir()
    (tmp_path / "run").rename(tmp_path / "demo" / "run")
    values: dict[str, Any] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), values)
    assert values["run"].summary["metrics"]["names"]["taught"]["pixel_accuracy"] > 0.5
