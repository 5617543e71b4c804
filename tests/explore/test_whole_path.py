"""An hour of work in a minute: a real run is named, taught and exported by clicks, and the files are these clicks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import yaml
from PIL import Image
from pycocotools import mask as rle
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import datus2_ray
from datus2_ray.core.images.labels import decode_labels, upsample_nearest
from datus2_ray.store import parquet
from datus2_ray.store.facts import Discovered, Taught, TaughtMasks
from datus2_ray.store.names import read_names
from datus2_ray.store.run_folder import RunFolder
from tests.commands.conftest import settings_to_name
from tests.conftest import FEW_ACTORS
from tests.explore.conftest import Servers
from tests.explore.page import Page, named

IMAGES, CLUSTERS, FINE = 8, 8, 20

#: A command imports torch and joins Ray, which takes long where the machine has other work.
COMMAND_SECONDS = 200


@pytest.fixture
def run(ray_session: None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Run all stages on Ray, with the packaged backbone; commands that the page starts join the same Ray."""
    datus2_ray.run(settings_to_name(scenes, tmp_path / "run", *FEW_ACTORS, limit=IMAGES, clusters=CLUSTERS))
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return RunFolder(str(tmp_path / "run"))


def test_an_hour_of_work_in_a_minute(chromium: Any, servers: Servers, run: RunFolder, tmp_path: Path) -> None:
    served = servers.start(run, tmp_path)
    page, tables = Page(chromium, served), served.explored.tables
    cards = page.cards()
    sizes = [sum(tables.leaf_pixels[leaf] for leaf in page.leaves(node)) for node in cards]
    assert len(cards) == CLUSTERS
    assert sizes == sorted(sizes, reverse=True)

    # Name five clusters: typed, by a key, completed.
    page.focus(cards[0])
    for title in ("road", "sky", "Straße"):
        page.keys(Keys.ENTER)
        page.keys(title, Keys.ENTER)
        page.saved(lambda names, title=title: bool(named(names, title)))
        page.until(lambda: page.focused() in cards)
        page.keys(Keys.ARROW_RIGHT)
    assert page.focused() == cards[3]
    page.keys("1")
    page.saved(lambda names: named(names, "road") == page.leaves(cards[0]) | page.leaves(cards[3]))
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.keys("St", Keys.ENTER)  # the only name that begins so
    names = page.saved(lambda names: named(names, "Straße") == page.leaves(cards[2]) | page.leaves(cards[4]))
    page.until(lambda: page.focused() == cards[4])
    assert named(names, "sky") == page.leaves(cards[1])
    assert len(names.classes) == 3
    assert page.cards() == cards, "nothing jumps"

    # Join one without a name with the likeliest that has one.
    page.focus(cards[5])
    page.keys("m")
    page.find("#join[open] .choice")
    offered = page.script("return [...document.querySelectorAll('#join .choice')].map(choice => choice.textContent)")
    choice = next(number for number, text in enumerate(offered) if re.search("road|sky|Straße", text))
    into = re.search("road|sky|Straße", offered[choice])
    assert into is not None
    page.keys(*Keys.ARROW_DOWN * choice, Keys.ENTER)
    before = names
    names = page.saved(lambda names: page.leaves(cards[5]) <= set(names.clusters))
    assert named(names, into[0]) == named(before, into[0]) | page.leaves(cards[5])
    page.until(lambda: page.focused() == cards[5])

    # The slider: another view of the same names.
    page.slide("k", FINE)
    page.until(lambda: set(page.cards()) == set(range(FINE)))
    page.slide("k-number", 2)
    page.until(lambda: len(page.cards()) == 2)
    assert "mixed" in page.find(".card").get_attribute("aria-label")
    page.slide("k-number", CLUSTERS)
    page.until(lambda: page.cards() == cards)
    assert read_names(run) == names

    # Split one along the tree, name a half, take both back; redo, undo.
    whole = next(node for node in cards if node >= FINE)
    page.focus(whole)
    page.keys("s")
    page.until(lambda: len(page.cards()) == CLUSTERS + 1)
    half = page.focused()
    assert page.leaves(half) < page.leaves(whole)
    page.keys(Keys.ENTER)
    page.keys("car", Keys.ENTER)
    page.saved(lambda names: named(names, "car") == page.leaves(half))
    page.until(lambda: page.focused() == half)
    page.keys("u")
    page.saved(lambda now: now == names)
    page.until(lambda: "Undone" in page.message)
    page.keys("u")
    page.until(lambda: page.cards() == cards)
    assert page.focused() == whole
    assert read_names(run) == names
    page.keys(Keys.SHIFT + "u")
    page.saved(lambda names: named(names, "car") == page.leaves(half))
    page.keys("u")
    page.saved(lambda now: now == names)

    # Correct one segment of an image, by a click on its pixels.
    page.click("#tab-images")
    page.click(".tile")
    page.find("#viewer[open] .sheet img")
    image_id = page.text("#viewer-title")
    discovered = run.require(Discovered)
    rows = parquet.read_table(discovered.path(min(discovered.parts))).to_pylist()
    row = next(row for row in rows if row["image_id"] == image_id)
    patch_map = np.array(row["patch_map"], np.int16).reshape(row["grid_height"], row["grid_width"])
    y, x = (int(places[0]) for places in np.nonzero(patch_map >= 0))
    segment = int(patch_map[y, x])
    sheet = page.find("#viewer .sheet")
    along = ((x + 0.5) / row["grid_width"] - 0.5) * sheet.size["width"]
    down = ((y + 0.5) / row["grid_height"] - 0.5) * sheet.size["height"]
    webdriver.ActionChains(chromium).move_to_element_with_offset(sheet, round(along), round(down)).click().perform()
    page.until(lambda: f"Segment {segment} " in page.text("#viewer .side"))
    page.keys("2")
    page.saved(lambda names: bool(names.segments))
    page.until(lambda: "this one segment" in page.text("#viewer .side"))
    page.keys("]", "3")
    page.saved(lambda names: len(names.segments[image_id]) == 2)
    page.keys("0")
    names = page.saved(lambda names: len(names.segments[image_id]) == 1)
    page.keys(Keys.ARROW_RIGHT)
    page.until(lambda: page.text("#viewer-title") not in ("", image_id))
    page.keys(Keys.ESCAPE)

    # What was clicked is in the file.
    kept = yaml.safe_load(Path(run.path("names.yaml")).read_text(encoding="utf-8"))
    assert [one["name"] for one in kept["classes"]] == ["road", "sky", "Straße"]
    assert {title: set(found) for title, found in kept["clusters"].items()} == {
        title: named(names, title) for title in ("road", "sky", "Straße")
    }
    assert set().union(*map(set, kept["clusters"].values())) == set().union(*map(page.leaves, cards[:6]))
    assert kept["segments"] == {image_id: {segment: "sky"}}

    # Teach: the command itself, in a process of its own.
    page.click("#teach")
    page.until(lambda: page.text("#job h2") in ("Taught", "Teaching failed"), COMMAND_SECONDS)
    assert page.text("#job h2") == "Taught", page.text("#job")
    page.until(lambda: "as taught" in page.text("#scores"))
    assert run.require(Taught).facts.names == names.fingerprint()
    taught = _masks(run)
    assert sorted(taught) == [f"scene_{number:04d}" for number in range(IMAGES)]
    assert {one.name for one in run.require(TaughtMasks).facts.classes} == {"road", "sky", "Straße"}
    inside = upsample_nearest(np.where(patch_map == segment, 1, 0).astype(np.uint8), *taught[image_id].shape) == 1
    assert set(taught[image_id][inside]) == {1}

    # Export: two formats, one after the other; the page says where the files are.
    for target in ("png", "coco"):
        page.click("#export")
        page.find("#export-dialog[open] #format")
        page.script("document.getElementById('format').value = arguments[0]", target)
        page.click("#export-dialog .main")
        page.until(lambda: page.text("#job h2") == "Exporting …")
        page.until(lambda: page.text("#job h2") in ("Exported", "The export failed"), COMMAND_SECONDS)
        assert page.text("#job h2") == "Exported", page.text("#job")
        folder = Path(page.text("#job p"))
        exported = (_read_png if target == "png" else _read_coco)(folder, [one["colour"] for one in kept["classes"]])
        assert set(exported) == set(taught)
        for name, mask in exported.items():
            np.testing.assert_array_equal(mask, taught[name])
    assert page.browser.find_elements(By.CSS_SELECTOR, "dialog[open]") == []
    assert page.errors() == []
    shutil.rmtree(run.uri)


def _masks(run: RunFolder) -> dict[str, np.ndarray]:
    commit = run.require(TaughtMasks)
    tables = [parquet.read_table(commit.path(part), ["image_id", "mask"]) for part in commit.parts]
    return {row["image_id"]: decode_labels(row["mask"]) for table in tables for row in table.to_pylist()}


def _read_png(folder: Path, colours: list[str]) -> dict[str, np.ndarray]:
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "road\nsky\nStraße\n"
    masks = {}
    for file in (folder / "masks").iterdir():
        picture = Image.open(file)
        palette = bytes(picture.getpalette() or ()).hex()
        assert [f"#{palette[start : start + 6]}" for start in (0, 6, 12)] == colours
        masks[file.stem] = np.asarray(picture)
    return masks


def _read_coco(folder: Path, colours: list[str]) -> dict[str, np.ndarray]:
    (file,) = folder.rglob("*.json")
    kept = json.loads(file.read_text(encoding="utf-8"))
    titles = {one["id"]: one["name"] for one in kept["categories"]}
    numbers = {number: ["road", "sky", "Straße"].index(title) for number, title in titles.items()}
    masks = {one["id"]: np.full((one["height"], one["width"]), 255, np.uint8) for one in kept["images"]}
    for one in kept["annotations"]:
        masks[one["image_id"]][rle.decode(one["segmentation"]) == 1] = numbers[one["category_id"]]
    return {Path(one["file_name"]).stem: masks[one["id"]] for one in kept["images"]}
