"""What the server answers: names as they are on disk, samples, images."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from datus2_ray.core.images.labels import decode_labels, encode_labels
from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import NamedClass, Names
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Predicted
from datus2_ray.store.names import append_change, open_names, read_names
from datus2_ray.store.names_history import read_history
from tests.explore.conftest import MadeServed, Servers
from tests.explore.made import halves

Serve = Callable[..., MadeServed]


def test_every_edit_is_saved_before_it_is_answered(serve: Serve) -> None:
    served = serve()
    after = served.edit(0, do="clusters", clusters=[0, 5], name="road")
    assert (after["number"], after["fine"][0], after["fine"][5], after["fine"][1]) == (1, 0, 0, -1)
    served.edit(1, do="clusters", clusters=[5], name="sky")
    served.edit(2, do="segments", image=3, segments=[1, 2], name="tree")
    served.edit(3, do="change", name="road", rename="Straße", colour="#102030", ignore=True)
    served.edit(4, do="add", name="car")
    served.edit(5, do="join", name="sky", into="car")
    names = read_names(served.run)
    assert next((named.name, named.colour, named.ignore) for named in names.classes) == ("Straße", "#102030", True)
    title = [named.name for named in names.classes]
    assert {number: title[found] for number, found in names.clusters.items()} == {0: "Straße", 5: "car"}
    assert {image: {n: title[c] for n, c in found.items()} for image, found in names.segments.items()} == {
        "shot_000003": {1: "tree", 2: "tree"}
    }
    assert served.edit(6, do="undo")["classes"] != served.edit(7, do="redo")["classes"]
    assert len(read_history(served.run)) == 8
    served.edit(8, do="segments", image=3, segments=[1, 2], name=None)
    served.edit(9, do="remove", name="car")
    served.edit(10, do="clusters", clusters=[0], name=None)
    assert read_names(served.run).is_empty


def test_a_second_tab_or_person_is_noticed_and_nothing_is_overwritten(serve: Serve) -> None:
    served = serve()
    served.edit(0, do="clusters", clusters=[0], name="road")
    status, _, body = served.ask(
        "POST", "/api/edit", {"expected": 0, "edit": {"do": "clusters", "clusters": [0], "name": "sky"}}
    )
    assert status == 409
    assert "elsewhere" in json.loads(body)["error"]
    names, number = open_names(served.run)
    append_change(served.run, Change.between(names, edits.name_clusters(names, [7], "sky")), number)
    assert served.ask("POST", "/api/edit", {"expected": 1, "edit": {"do": "undo"}})[0] == 409
    seen = served.json("GET", "/api/names?known=1.of-others")
    assert seen["number"] == 2
    known = f"2.{seen['fingerprint']}"
    assert served.ask("GET", f"/api/names?known={known}")[0] == 204
    assert seen["fine"][7] == 1
    # So is an edit of the file by hand.
    text = storage.read_bytes(served.run.path("names.yaml")).decode().replace("sky", "water")
    storage.write_bytes(served.run.path("names.yaml"), text.encode())
    assert served.json("GET", f"/api/names?known={known}")["classes"][1]["name"] == "water"


def test_an_undo_that_leads_to_names_of_another_clustering_is_refused_and_the_page_goes_on(serve: Serve) -> None:
    served = serve()
    run = served.run
    clustering = run.current()["cluster"]
    names = Names(clustering, (NamedClass("road", "#e69f00"),), {0: 0})
    # As before and after --carry-over.
    for after in (replace(names, clustering="earlier", clusters={5: 0}), names):
        before, number = open_names(run)
        append_change(run, Change.between(before, after), number)
    status, _, body = served.ask("POST", "/api/edit", {"expected": 2, "edit": {"do": "undo"}})
    assert status == 422
    assert "names of clustering earlier, and this run has" in json.loads(body)["error"]
    assert served.json("GET", "/api/names")["number"] == 2
    assert read_names(run) == names


def test_names_that_cannot_be_locked_are_shown_and_an_edit_says_so(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    served.edit(0, do="clusters", clusters=[0], name="road")

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "_acquire", fail)
    file, known = served.run.path("names.yaml"), ""
    for before, clusters in ((b"[0]", [0, 5]), (b"[0, 5]", [7])):
        storage.write_bytes(file, storage.read_bytes(file).replace(before, str(clusters).encode()))
        seen = served.json("GET", "/api/run")["names"]
        assert (seen["number"], np.flatnonzero(np.array(seen["fine"]) == 0).tolist()) == (2, clusters)
        # The number is that of a change which cannot be noted: the page asks by the names themselves, too.
        assert served.json("GET", f"/api/names?known={known}")["fine"] == seen["fine"]
        known = f"{seen['number']}.{seen['fingerprint']}"
        images = served.json("GET", "/api/images?class=0&limit=24")["images"]
        assert all(set(image["fine"]) & set(clusters) for image in images)
    for edit in ({"do": "undo"}, {"do": "clusters", "clusters": [1], "name": "sky"}):
        status, headers, body = served.ask("POST", "/api/edit", {"expected": 2, "edit": edit})
        assert (status, headers["content-type"]) == (500, "application/json")
        assert "(Permission denied); use a copy of the run" in json.loads(body)["error"]


def test_of_edits_at_the_same_moment_one_is_saved(serve: Serve) -> None:
    served, answers = serve(), []

    def send(number: int) -> None:
        edit = {"do": "clusters", "clusters": [number], "name": f"class {number}"}
        answers.append(served.ask("POST", "/api/edit", {"expected": 0, "edit": edit})[0])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7
    assert len(read_names(served.run).clusters) == 1


@pytest.mark.parametrize(
    "edit",
    [
        {"do": "clusters", "clusters": [12], "name": "a"},
        {"do": "clusters", "clusters": [-1], "name": "a"},
        {"do": "clusters", "clusters": [], "name": "a"},
        {"do": "clusters", "clusters": ["0"], "name": "a"},
        {"do": "clusters", "clusters": [0], "name": ""},
        {"do": "clusters", "clusters": [0], "name": "x" * 81},
        {"do": "clusters", "clusters": [0], "name": "a\nb"},
        {"do": "clusters", "clusters": [0]},
        {"do": "segments", "image": 10, "segments": [0], "name": "a"},
        {"do": "segments", "image": 0, "segments": [6], "name": "a"},
        {"do": "segments", "image": "../x", "segments": [0], "name": "a"},
        {"do": "remove", "name": "not there"},
        {"do": "change", "name": "not there", "ignore": True},
        {"do": "add", "name": "a", "path": "/etc"},
        {"do": "undo"},
        {"do": "rm"},
        {},
    ],
)
def test_an_edit_that_is_not_possible_is_refused_in_one_line(served: MadeServed, edit: dict[str, object]) -> None:
    status, _, body = served.ask("POST", "/api/edit", {"expected": 0, "edit": edit})
    assert status == 422
    assert "\n" not in json.loads(body)["error"]
    assert not storage.exists(served.run.path("names.yaml"))


def test_names_that_are_no_script_of_the_page_come_back_as_they_are(serve: Serve) -> None:
    evil = "<script>alert(1)</script>"
    served = serve(ids=[f'{evil}"{i}' for i in range(6)])
    assert served.edit(0, do="clusters", clusters=[0], name=evil)["classes"][0]["name"] == evil
    status, headers, _ = served.ask("GET", "/api/images")
    assert (status, headers["content-type"], headers["x-content-type-options"]) == (200, "application/json", "nosniff")


def test_images_are_those_that_have_a_cluster_a_class_or_a_text(serve: Serve) -> None:
    served = serve(images=9)
    found = served.json("GET", "/api/images?limit=4&offset=2")
    assert found["total"] == 9
    assert [image["id"] for image in found["images"]] == [f"shot_{i:06d}" for i in range(2, 6)]
    fine = served.made.fine
    of_leaf = {image["id"] for image in served.json("GET", "/api/images?node=3")["images"]}
    assert of_leaf == {image for image, leaves in fine.items() if 3 in leaves}
    served.edit(0, do="clusters", clusters=[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], name="road")
    served.edit(1, do="segments", image=0, segments=[0], name="sky")
    with_sky = served.json("GET", "/api/images?class=1")["images"]
    assert [image["id"] for image in with_sky] == ["shot_000000"]
    assert with_sky[0]["own"] == {"0": 1}
    unnamed = {image["id"] for image in served.json("GET", "/api/images?class=-1")["images"]}
    assert unnamed == {
        image for image, leaves in fine.items() if 11 in (leaves[1:] if image == "shot_000000" else leaves)
    }
    assert [image["id"] for image in served.json("GET", "/api/images?text=T_000007")["images"]] == ["shot_000007"]
    assert served.json("GET", "/api/images?text=.*")["total"] == 0


def test_a_crop_shows_the_segment_and_the_map_its_pixels(served: MadeServed) -> None:
    pictures = served.json("GET", "/api/run")["pictures"]
    image = served.json("GET", "/api/image/4")
    for segment, leaf in enumerate(image["fine"]):
        status, headers, data = served.ask("GET", f"{pictures}/crop/4/{segment}/112")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert "immutable" in headers["cache-control"]
        pixels = np.array(Image.open(BytesIO(data))).reshape(-1, 3).astype(int)
        assert len(pixels) == 112 * 112
        near = np.abs(pixels - served.made.colours[leaf]).max(axis=1) < 12
        assert near.mean() > 0.05
    segments, labels = halves(served.ask("GET", f"{pictures}/map/4")[2])
    assert segments.shape == (96, 128)
    assert np.array_equal(np.unique(segments), np.arange(6))
    members = served.explored.tables.tree.members(4)
    assert np.array_equal(labels, members[np.array(image["fine"])][segments])
    assert np.isclose(np.bincount(segments.ravel()) / segments.size, image["share"], atol=1e-5).all()


def test_pictures_of_other_refined_masks_have_other_addresses(serve: Serve, servers: Servers, tmp_path: Path) -> None:
    first = serve(images=4)
    run, k = first.run, first.made.k
    masks = run.require(Predicted)
    (part,) = masks.parts
    table = parquet.read_table(masks.path(part), ["image_id", "mask"])
    changed = [encode_labels((decode_labels(mask) + 1) % k) for mask in table["mask"].to_pylist()]
    other = replace(masks, uri=run.result(Predicted.stage, "ab" * 16), fingerprint="ab" * 16)
    parquet.write_table(other.path(part), table.set_column(1, table.schema.field("mask"), [changed]))
    run.commit(other)
    current = run.current()
    addresses = [first.json("GET", "/api/run")["pictures"]]
    for number, now in enumerate(
        ({**current, Predicted.stage: other.fingerprint}, {n: f for n, f in current.items() if n != Predicted.stage})
    ):
        run.set_current(now)
        (cache := tmp_path / f"cache{number}").mkdir()
        served = servers.start(run, cache)
        addresses.append(served.json("GET", "/api/run")["pictures"])
        # What the browser kept of earlier masks is not asked for, and not answered with these.
        assert served.ask("GET", f"{addresses[-2]}/map/1")[0] == 404
        if number == 0:
            before, after = (
                halves(one.ask("GET", f"{one.json('GET', '/api/run')['pictures']}/map/1")[2]) for one in (first, served)
            )
            assert np.array_equal(before[0], after[0])
            assert np.array_equal((before[1] + 1) % k, after[1])
    assert len(set(addresses)) == 3


def test_more_clusters_than_8_bits_hold_are_told_apart(serve: Serve) -> None:
    served = serve(leaves=320, k=300)
    members = served.explored.tables.tree.members(300)
    pictures = served.json("GET", "/api/run")["pictures"]
    seen = set()
    for number, fine in enumerate(served.made.fine.values()):
        segments, labels = halves(served.ask("GET", f"{pictures}/map/{number}")[2])
        assert np.array_equal(labels, members[fine][segments])
        seen |= set(np.unique(labels))
    assert max(seen) > 255
    served.edit(0, do="clusters", clusters=list(range(320)), name="road")


def test_teaching_runs_the_command_and_says_how_it_went(serve: Serve) -> None:
    served = serve()
    assert served.json("GET", "/api/job")["state"] == "idle"
    import sys

    for code, state, line in (
        ("print('round 1'); print('done')", "done", "done"),
        ("print('error: no names'); raise SystemExit(1)", "failed", "error: no names"),
    ):
        served.explored.jobs._program = (sys.executable, "-c", code)
        served.json("POST", "/api/job/teach", {})
        while (answer := served.json("GET", "/api/job"))["state"] == "running":
            pass
        assert (answer["state"], answer["line"]) == (state, line)
    served.explored.jobs._program = (sys.executable, "-c", "import time; time.sleep(60)")
    served.json("POST", "/api/job/teach", {})
    assert served.ask("POST", "/api/job/teach", {})[0] == 422
    for name in ("rm", "export", "export-exe", "teach --x"):
        assert served.ask("POST", f"/api/job/{quote(name)}", {})[0] == 422
    served.explored.jobs.stop()
