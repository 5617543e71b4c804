"""Names of a finished run: taken, shown, made into masks, taught, carried over, and used for new images."""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

import datus2_ray
from datus2_ray.cli.app import app
from datus2_ray.commands.annotations import import_annotations
from datus2_ray.commands.carry_over import carry_over_names
from datus2_ray.commands.export import export
from datus2_ray.commands.name import name, naming_progress, take_names
from datus2_ray.commands.relabel import relabel
from datus2_ray.commands.run import run
from datus2_ray.commands.status import read_status
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.core.refine.prediction import predict_labels
from datus2_ray.core.refine.token_layer import from_bytes
from datus2_ray.engine.naming import Naming
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import (
    Clustered,
    Discovered,
    Exported,
    Ingested,
    Labelled,
    Named,
    Predicted,
    Surveyed,
    Taught,
    TaughtMasks,
)
from datus2_ray.store.names import append_change, open_names, read_names, undo
from datus2_ray.store.names_history import read_history
from datus2_ray.store.run_folder import RunFolder
from tests.commands.conftest import settings_to_name, small_settings


@dataclass(frozen=True)
class Given:
    """A finished run, its summary, and the class that most pixels of every fine cluster have in the ground truth."""

    folder: RunFolder
    summary: dict[str, Any]
    truth: dict[int, str]


@pytest.fixture(scope="module")
def finished(run_to_name: str) -> Given:
    folder = RunFolder(run_to_name)
    summary = storage.read_json(folder.path("summary.json"))
    classes = folder.require(Surveyed).facts.classes
    counts: dict[int, Counter[str]] = {}
    for row in rows(folder, Labelled):
        truth = decode_labels(of_image(folder, Ingested, row["image_id"])["mask"])
        image = of_image(folder, Discovered, row["image_id"])
        cells = spread(image, np.arange(len(row["segment_fine"])), truth.shape)
        for number, fine in enumerate(row["segment_fine"]):
            found = Counter(truth[cells == number].tolist())
            counts.setdefault(fine, Counter()).update({classes[c]: n for c, n in found.items() if c < len(classes)})
    return Given(folder, summary, {fine: found.most_common(1)[0][0] for fine, found in counts.items()})


@pytest.fixture
def given(finished: Given, here: None, tmp_path: Path) -> Given:
    """Copy the finished run, so that a test may change it."""
    shutil.copytree(finished.folder.uri, tmp_path / "run")
    return Given(RunFolder(str(tmp_path / "run")), finished.summary, finished.truth)


def rows(folder: RunFolder, facts: type[Any]) -> list[dict[str, Any]]:
    commit = folder.require(facts)
    return pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]).to_pylist()


def of_image(folder: RunFolder, facts: type[Any], image_id: str) -> dict[str, Any]:
    return next(row for row in rows(folder, facts) if row["image_id"] == image_id)


def spread(image: dict[str, Any], of_segments: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Write the naive reading of what a pixel gets of its segment; noise is -1."""
    grid = np.array(image["patch_map"]).reshape(image["grid_height"], image["grid_width"])
    y = ((np.arange(shape[0]) + 0.5) * grid.shape[0] / shape[0]).astype(int)
    x = ((np.arange(shape[1]) + 0.5) * grid.shape[1] / shape[1]).astype(int)
    return np.append(of_segments, -1)[grid][y[:, None], x]


def edit(folder: RunFolder, *all_edits: Callable[[Names], Names]) -> Names:
    names, number = open_names(folder)
    after = names
    for one in all_edits:
        after = one(after)
    append_change(folder, Change.between(names, after), number, "test")
    return after


def name_all(given: Given, clusters: list[int] | None = None) -> Names:
    """Name fine clusters by majority, as somebody would who looks at them."""
    chosen = sorted(given.truth) if clusters is None else clusters
    return edit(given.folder, *(lambda names, c=c: edits.name_clusters(names, [c], given.truth[c]) for c in chosen))


def results(out: str) -> dict[str, bytes]:
    files = [file for file in Path(out).glob("*/*/**/*") if file.is_file()]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_a_pixel_has_the_class_of_its_segment_or_of_its_cluster(given: Given) -> None:
    folder, before = given.folder, results(given.folder.uri)
    fine = sorted(given.truth)
    names = name_all(given, fine[: len(fine) * 2 // 3])
    image_id = rows(folder, Labelled)[0]["image_id"]
    names = edit(
        folder,
        lambda names: edits.name_segments(names, {image_id: [0]}, "my own"),
        lambda names: edits.change_class(names, given.truth[fine[0]], ignore=True),
    )
    summary = name(folder.uri)
    commit = folder.require(Named)
    assert commit.facts.classes == names.classes
    assert {file: data for file, data in results(folder.uri).items() if file in before} == before
    folder.require_finished()

    labelled, areas = folder.require(Labelled), folder.require(Labelled).facts.areas
    members = {
        f: c
        for row in rows(folder, Labelled)
        for f, c in zip(row["segment_fine"], row["segment_clusters"], strict=True)
    }
    hidden = names.class_id(given.truth[fine[0]])
    of_cluster = {}
    for cluster in range(8):
        weights: Counter[int] = Counter()
        for number, its in members.items():
            weights[names.clusters.get(number, 999)] += areas[number] if its == cluster else 0
        of_cluster[cluster] = min(c for c, weight in weights.items() if weight == max(weights.values()))
    for row in rows(folder, Named):
        labels, image = of_image(folder, Labelled, row["image_id"]), of_image(folder, Discovered, row["image_id"])
        own = [names.clusters.get(number, 999) for number in labels["segment_fine"]]
        if row["image_id"] == image_id:
            own[0] = names.class_id("my own")
        assert row["segment_classes"] == [-1 if c == 999 else c for c in own]
        refined = decode_labels(of_image(folder, Predicted, row["image_id"])["mask"])
        segment = spread(image, np.array(own), refined.shape)
        cluster = spread(image, np.array(labels["segment_clusters"]), refined.shape)
        expected = np.where(cluster == refined, segment, np.vectorize(of_cluster.get)(refined))
        expected = np.where((expected == 999) | (expected == hidden) | (expected < 0), 255, expected)
        mask = decode_labels(row["mask"])
        np.testing.assert_array_equal(mask, expected)
        assert mask.shape == (row["height"], row["width"])
    assert labelled.facts.pixels == sum(row["height"] * row["width"] for row in rows(folder, Named))
    scores = summary["metrics"]["names"]
    assert storage.read_json(folder.path("metrics.json")) == summary["metrics"]
    assert scores["named"]["by_name"] == len(names.classes) - 1
    assert scores["named"]["coverage"] < 1
    assert "taught" not in scores


def test_scores_are_those_of_the_masks_and_teaching_is_no_worse(given: Given) -> None:
    names = name_all(given)
    summary = name(given.folder.uri, teach=True)
    scores = summary["metrics"]["names"]
    classes = given.folder.require(Surveyed).facts.classes
    for key, facts in (("named", Named), ("taught", TaughtMasks)):
        right = total = 0
        for row in rows(given.folder, facts):
            truth, mask = (
                decode_labels(of_image(given.folder, Ingested, row["image_id"])["mask"]),
                decode_labels(row["mask"]),
            )
            table = np.array([classes.index(named.name) for named in names.classes] + [-1] * (256 - len(names.classes)))
            scored = truth < len(classes)
            right, total = right + (table[mask] == truth)[scored].sum(), total + scored.sum()
        assert scores[key]["pixel_accuracy"] == pytest.approx(right / total)
    assert scores["taught"]["pixel_accuracy"] > scores["named"]["pixel_accuracy"] - 0.01
    for row in rows(given.folder, TaughtMasks):
        image, grey = of_image(given.folder, Discovered, row["image_id"]), decode_labels(row["confidence"])
        assert grey.shape == (image["grid_height"], image["grid_width"])
        assert 0 < min(row["segment_confidence"]) <= max(row["segment_confidence"]) <= 1
        assert set(row["segment_classes"]) <= set(range(len(names.classes)))
    # Again: nothing is computed; and the same run leaves it as it is.
    before, current = results(given.folder.uri), given.folder.current()
    assert name(given.folder.uri, teach=True) == summary
    assert name(given.folder.uri) == summary
    assert (results(given.folder.uri), given.folder.current()) == (before, current)


def test_there_may_be_more_classes_than_8_bits_hold(given: Given, scenes: Path, tmp_path: Path) -> None:
    folder = given.folder
    fine = folder.require(Clustered).facts.centroids
    titles = [f"class {number}" for number in range(300)]
    names = edit(
        folder,
        *(lambda names, title=title: edits.add_class(names, title) for title in titles),
        *(lambda names, c=c: edits.name_clusters(names, [c], titles[-1 - c]) for c in range(fine)),
    )
    name(folder.uri, teach=True)
    for facts in (Named, TaughtMasks):
        masks = [decode_labels(row["mask"]) for row in rows(folder, facts)]
        assert {mask.dtype for mask in masks} == {np.dtype(np.uint16)}
        found = set(np.unique(np.concatenate([mask.ravel() for mask in masks])).tolist())
        assert found <= {*range(300 - fine, 300), 65535}
        assert len(found) > 2
    with pytest.raises(UsageError, match="cvat reads at most 254 classes"):
        export(folder.uri, "cvat")
    file = Path(export(folder.uri, "coco"), "annotations", "train.json")
    # What was exported is what comes back: nothing of it is a correction.
    imported = import_annotations(folder.uri, str(file), "coco")
    assert (imported.clusters, read_names(folder).classes) == (0, names.classes)
    new = Path(datus2_ray.predict(folder.uri, str(scenes / "images"), str(tmp_path / "new"), limit=1))
    assert decode_labels(next(new.glob("*.png")).read_bytes()).dtype == np.uint16


def test_a_segment_that_was_named_by_itself_keeps_its_class(given: Given) -> None:
    name_all(given)
    first = rows(given.folder, Labelled)[0]
    names = edit(given.folder, lambda names: edits.name_segments(names, {first["image_id"]: [1]}, "mine"))
    name(given.folder.uri, teach=True)
    row = rows(given.folder, TaughtMasks)[0]
    image, mask = of_image(given.folder, Discovered, row["image_id"]), decode_labels(row["mask"])
    inside = spread(image, np.arange(len(first["segment_fine"])), mask.shape) == 1
    assert (mask[inside] == names.class_id("mine")).all()
    assert (row["segment_classes"][1], row["segment_confidence"][1]) == (names.class_id("mine"), 1.0)
    assert (decode_labels(row["confidence"]).ravel()[np.array(image["patch_map"]) == 1] == 255).all()


def test_interrupted_it_goes_on_and_the_run_stays_finished(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    name_all(given)
    before, calls, paint = results(given.folder.uri), [0], Naming.paint

    def fail_once(self: Naming, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        return paint(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Naming, "paint", fail_once)
        with pytest.raises(KeyboardInterrupt):
            name(given.folder.uri)
    given.folder.require_finished()
    assert {file: data for file, data in results(given.folder.uri).items() if file in before} == before
    monkeypatch.setattr(Naming, "paint", fail_once)
    assert name(given.folder.uri)["metrics"]["names"]["named"]["pixel_accuracy"] > 0.5
    assert calls[0] == 6 + 6  # four images were done before


@pytest.mark.parametrize("written", [True, False])
def test_masks_of_names_need_no_lock(given: Given, monkeypatch: pytest.MonkeyPatch, written: bool) -> None:
    name_all(given)
    if written:
        name(given.folder.uri)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "_acquire", fail)
    assert name(given.folder.uri)["metrics"]["names"]["named"]["pixel_accuracy"] > 0.5
    assert set(datus2_ray.load(given.folder.uri).segments()["name"].to_pylist()) == set(given.truth.values())
    assert (Path(export(given.folder.uri, "png")) / "labels.txt").read_text().split()


def test_names_hold_for_another_k_and_run_keeps_them(given: Given, scenes: Path) -> None:
    name_all(given)
    summary = name(given.folder.uri)
    current = given.folder.current()
    assert run(settings_to_name(scenes, Path(given.folder.uri))) == summary
    assert given.folder.current() == current
    relabel(given.folder.uri, 5)
    # Masks of classes of another K are others; they are not current any more, and are made anew.
    assert "named" not in given.folder.current()
    assert "names" not in storage.read_json(given.folder.path("metrics.json"))
    assert name(given.folder.uri)["metrics"]["names"]["named"]["pixel_accuracy"] > 0.5
    assert given.folder.current()["named"] != current["named"]


def test_a_file_is_checked_and_taken(given: Given, tmp_path: Path) -> None:
    folder, file = given.folder, tmp_path / "names.yaml"
    image_id = rows(folder, Labelled)[0]["image_id"]
    fine = folder.require(Clustered).facts.centroids
    file.write_text(
        f"classes: [road, sky]\nclusters: {{road: [0, 2], sky: [1]}}\nsegments: {{{image_id}: {{0: sky}}}}\n"
    )
    invoke = CliRunner().invoke
    done = invoke(app, ["name", folder.uri, "--file", str(file)], catch_exceptions=False)
    progress = naming_progress(folder.uri)
    assert (progress.named, progress.fine, progress.segments, progress.classes) == (3, fine, 1, 2)
    areas = folder.require(Labelled).facts
    assert progress.share == pytest.approx(sum(areas.areas[:3]) / areas.pixels)
    assert done.output == f"{progress}\n"
    assert f"3 of {fine} fine clusters named, " in done.output
    assert len(read_history(folder)) == 1
    take_names(folder.uri, str(file))
    assert len(read_history(folder)) == 1
    done = invoke(app, ["name", folder.uri, "--masks"], catch_exceptions=False)
    assert "named" in done.output
    for text, message in (
        (f"classes: [road]\nclusters: {{road: [{fine}]}}", f"fine cluster {fine} is named, and there are {fine}: 0 to"),
        ("classes: [road]\nclusters: {car: [1]}", "unknown class 'car'"),
        ("classes: [road]\nsegments: {nothing: {0: road}}", "image 'nothing' is named, and the run has no such image"),
        (f"classes: [road]\nsegments: {{{image_id}: {{999: road}}}}", "segments, and segment 999 is named"),
        ("clustering: abc\nclasses: [road]\nclusters: {road: [1]}", "names the fine clusters of clustering abc"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            take_names(folder.uri, str(file))
        assert str(caught.value).startswith(str(file))
        assert len(str(caught.value).splitlines()) == 1
    assert len(read_history(folder)) == 1


def test_what_cannot_be_named_is_said(given: Given, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no names: give some by"):
        name(given.folder.uri)
    with pytest.raises(StorageError, match="is no finished run"):
        name(str(tmp_path / "nothing"))
    discovered = given.folder.require(Discovered)
    for part in discovered.parts:
        table = parquet.read_table(discovered.path(part))
        column = table.schema.get_field_index("tokens")
        nulls = pa.nulls(len(table), table.schema.field("tokens").type)
        parquet.write_table(discovered.path(part), table.set_column(column, table.schema.field("tokens"), nulls))
    name_all(given)
    with pytest.raises(UsageError, match="has no tokens of patches, which a layer learns from"):
        name(given.folder.uri, teach=True)


def test_a_run_can_be_taught_unless_nothing_in_it_read_tokens(
    here: None, small_run: Path, scenes: Path, tmp_path: Path
) -> None:
    """As docs/names.md says: without refinement, too; not with the preset `paper` and no ground truth."""
    unrefined = RunFolder(str(shutil.copytree(small_run, tmp_path / "unrefined")))
    assert unrefined.find(Predicted) is None
    settings = {"preset": "paper", "limit": 4, "clusters": 3, "no_refine": True}
    more = ("refine.em=false", "refine.network=deeplabv3", "cluster.restarts=1")
    plain = run(small_settings(scenes / "images", tmp_path / "plain", *more, **settings))
    labelled = run(small_settings(scenes, tmp_path / "labelled", *more, dataset="demo", **settings))
    assert (plain["metrics"], labelled["metrics"]["clusters"]) == (None, 3)
    for folder in (unrefined, *(RunFolder(str(tmp_path / out)) for out in ("plain", "labelled"))):
        edit(
            folder,
            lambda names: edits.name_clusters(names, [0], "a"),
            lambda names: edits.name_clusters(names, [1], "b"),
        )
    for folder in (unrefined, RunFolder(str(tmp_path / "labelled"))):
        name(folder.uri, teach=True)
        assert folder.find(TaughtMasks) is not None
    with pytest.raises(UsageError, match=r"has no tokens of patches.*run it with --set refine\.em=true"):
        name(str(tmp_path / "plain"), teach=True)


def test_names_are_carried_over_to_another_clustering(given: Given, scenes: Path) -> None:
    folder = given.folder
    names = name_all(given)
    first = rows(folder, Labelled)[0]
    edit(folder, lambda names: edits.name_segments(names, {first["image_id"]: [1]}, "mine"))
    score = name(folder.uri)["metrics"]["names"]["named"]["pixel_accuracy"]
    run(settings_to_name(scenes, Path(folder.uri), "cluster.fine=25", seed=3))
    with pytest.raises(UsageError, match=f"of clustering {names.clustering[:12]}, and this run has .* --carry-over"):
        name(folder.uri)
    lines = carry_over_names(folder.uri)
    carried = read_names(folder)
    assert carried.clustering == folder.require(Clustered).fingerprint
    assert lines[0].startswith(f"{len(carried.clusters)} fine clusters named; ")
    assert len(lines) == 1 + int(lines[0].split("; ")[1].split()[0])
    assert len(carried.clusters) > 20
    before, after = name_of_segments(names, folder, first), name_of_segments(carried, folder, first)
    assert after[1] == "mine"
    assert before[1] != "mine"
    assert name(folder.uri)["metrics"]["names"]["named"]["pixel_accuracy"] > score - 0.15
    assert carry_over_names(folder.uri) == ["the names are of the current clustering; there is nothing to carry over"]


def name_of_segments(names: Names, folder: RunFolder, image: dict[str, Any]) -> list[str]:
    row = (
        image
        if names.clustering != folder.require(Clustered).fingerprint
        else of_image(folder, Labelled, image["image_id"])
    )
    found = names.of_segments(image["image_id"], np.array(row["segment_fine"]))
    return [names.classes[c].name if c >= 0 else "" for c in found]


def test_what_was_taught_stays_until_it_is_taught_again(given: Given, scenes: Path, tmp_path: Path) -> None:
    folder = given.folder
    name_all(given)
    name(folder.uri, teach=True)
    current = folder.current()
    edit(folder, lambda names: edits.add_class(names, "more"))
    for command in (lambda: name(folder.uri), lambda: export(folder.uri, "png")):
        command()
        assert {stage: folder.current()[stage] for stage in ("teach", "taught")} == {
            stage: current[stage] for stage in ("teach", "taught")
        }
    assert set(storage.read_json(folder.path("metrics.json"))["names"]) == {"images", "classes", "named"}
    assert folder.require(Exported).facts.masks == "named"
    with pytest.raises(UsageError, match="were changed after a layer was taught them"):
        datus2_ray.predict(folder.uri, str(scenes / "images"), str(tmp_path / "new"), limit=2)
    undo(folder, 2)
    assert "taught" in name(folder.uri)["metrics"]["names"]
    assert {stage: folder.current()[stage] for stage in current} == current


def test_what_was_made_of_other_names_is_not_shown_as_if_it_were_of_these(given: Given) -> None:
    folder = given.folder

    def shown() -> tuple[bool, bool, bool]:
        kept = [storage.read_json(folder.path(name)) for name in ("metrics.json", "summary.json")]
        scores = ("names" in kept[0], "names" in kept[1]["metrics"])
        return (*scores, b"Classes that were named" in storage.read_bytes(folder.path("report", "index.html")))

    def states() -> dict[str, str]:
        return {stage.stage: stage.state for stage in read_status(folder) if stage.stage in of_names}

    of_names = ("named", "teach", "taught", "score_names")
    before = storage.read_json(folder.path("metrics.json"))
    name_all(given)
    name(folder.uri, teach=True)
    assert shown() == (True, True, True)
    assert set(states().values()) == {"done"}
    # Any change withdraws the scores; they come back with the names, and nothing is computed for that.
    image_id = rows(folder, Labelled)[0]["image_id"]
    for number, change in enumerate(
        (
            lambda names: edits.change_class(names, names.classes[0].name, rename="renamed"),
            lambda names: edits.name_segments(names, {image_id: [0]}, "mine"),
        )
    ):
        edit(folder, change)
        assert shown() == (False, False, True)
        assert set(states().values()) == {"outdated"}
        with pytest.raises(UsageError, match="were changed after they were taught; teach them again"):
            datus2_ray.load(folder.uri).mask(image_id, "taught")
        undo(folder, 2 * number + 2)
        assert set(states().values()) == {"done"}
        made = results(folder.uri)
        name(folder.uri)
        assert shown() == (True, True, True)
        assert results(folder.uri) == made
    # So does an edit by hand, as soon as a program sees it.
    text = Path(folder.path("names.yaml")).read_text()
    Path(folder.path("names.yaml")).write_text(text.replace("name: ", "name: my ", 1).replace("clusters:\n  ", "x"))
    with pytest.raises(UsageError):
        open_names(folder)
    assert set(states().values()) == {"outdated"}
    Path(folder.path("names.yaml")).write_text(text)
    # All names are taken back: what is left of them disappears.
    edit(folder, lambda names: replace(names, clusters={}, segments={}))
    assert storage.read_json(folder.path("metrics.json")) == before
    summary = name(folder.uri)
    assert summary["metrics"] == before
    assert shown() == (False, False, False)
    assert set(states().values()) == {"not begun"}
    with pytest.raises(UsageError, match="has no names"):
        name(folder.uri)


def test_masks_of_names_that_were_taken_back_are_not_exported_from_predicted_ones(
    here: None, small_run: Path, scenes: Path, tmp_path: Path
) -> None:
    folder = RunFolder(str(shutil.copytree(small_run, tmp_path / "run")))
    edit(folder, lambda names: edits.name_clusters(names, range(5), "land"))
    for first in ("land", "cluster 0"):
        datus2_ray.predict(folder.uri, str(scenes / "images"), str(tmp_path / "new"), limit=2)
        exported = Path(export(str(tmp_path / "new"), "coco"), "annotations", "train.json").read_text()
        assert json.loads(exported)["categories"][0]["name"] == first
        edit(folder, lambda names: edits.name_clusters(names, range(5), None))


def test_single_segments_are_not_those_of_new_images_of_the_same_name(
    here: None, small_run: Path, scenes: Path, tmp_path: Path
) -> None:
    folder = RunFolder(str(shutil.copytree(small_run, tmp_path / "run")))  # not refined: new images have segments
    first = rows(folder, Labelled)[0]
    own = {first["image_id"]: range(len(first["segment_fine"]))}
    fine = range(folder.require(Clustered).facts.centroids)
    edit(
        folder,
        lambda names: edits.name_clusters(names, fine, "land"),
        lambda names: edits.name_segments(names, own, "mine"),
    )
    new = tmp_path / "new"
    new.mkdir()
    for number in range(2):
        shutil.copy(scenes / "images" / f"scene_{number + 8:04d}.jpg", new / f"scene_{number:04d}.jpg")
    assert (new / f"{first['image_id']}.jpg").exists()
    masks = Path(datus2_ray.predict(folder.uri, str(new), str(tmp_path / "out")))
    for file in sorted(masks.glob("*.png")):
        assert set(np.unique(np.asarray(Image.open(file)))) <= {0, 255}


def test_new_images_come_out_with_names(given: Given, scenes: Path, tmp_path: Path) -> None:
    names = name_all(given)

    def predicted(out: str) -> Path:
        return Path(datus2_ray.predict(given.folder.uri, str(scenes / "images"), str(tmp_path / out), limit=10))

    by_cluster = predicted("named")
    assert RunFolder(str(tmp_path / "named")).require(Exported).facts.masks == "named"
    states = {stage.stage: stage.state for stage in read_status(RunFolder(str(tmp_path / "named")))}
    assert (states["named"], states["predict"]) == ("done", "done")
    assert (by_cluster.parent / "labels.txt").read_text().split("\n")[:-1] == [c.name for c in names.classes]
    name(given.folder.uri, teach=True)
    by_layer = predicted("taught")
    assert RunFolder(str(tmp_path / "taught")).require(Exported).facts.masks == "taught"
    # The same images as in the run, without segments: the classes by the layer alone.
    folder, taught = RunFolder(str(tmp_path / "taught")), given.folder.require(Taught)
    layer = from_bytes(storage.read_bytes(taught.path(taught.facts.model)))
    for row in rows(folder, TaughtMasks):
        image = of_image(given.folder, Discovered, row["image_id"])
        tokens = np.array(image["tokens"], np.float16)
        logits = layer.of_patches(tokens, image["grid_height"], image["grid_width"])
        np.testing.assert_array_equal(
            decode_labels(row["mask"]), predict_labels(logits, image["height"], image["width"])
        )
        grey = 255 * logits.softmax(dim=0).amax(dim=0).numpy()
        np.testing.assert_allclose(decode_labels(row["confidence"]), grey, atol=0.51)
        assert row["segment_classes"] is None
        picture = Image.open(by_layer / f"{row['image_id']}.png")
        np.testing.assert_array_equal(np.asarray(picture), decode_labels(row["mask"]))
        assert picture.getpalette()[:3] == list(bytes.fromhex(names.classes[0].colour[1:]))
    edit(given.folder, lambda names: edits.add_class(names, "more"))
    with pytest.raises(UsageError, match=r"names of .* were changed after a layer was taught them"):
        predicted("stale")
