from __future__ import annotations

import base64
import re
from collections import defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from datus2_ray.core.cluster.tree import merge
from datus2_ray.core.images.labels import decode_labels, upsample_nearest
from datus2_ray.core.images.palette import palette
from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.errors import UsageError
from datus2_ray.report.html import write_report
from datus2_ray.sources.layouts import known
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.facts import Clustered, Ingested, Labelled, Predicted
from datus2_ray.store.names import append_change, open_names
from datus2_ray.store.run_folder import EXPLORER_PORT
from tests.report.conftest import add_result

VOID = {"meta", "img", "br", "line", "circle", "polyline", "path", "link", "input", "hr"}
HOSTILE = ['<script>alert("1")</script>', '"><img src=x onerror=alert(1)>', "'; </style><b>", "{{ 7 * 7 }}"]


@dataclass
class Page(HTMLParser):
    """What a browser's parser finds in a report."""

    html: str
    tags: list = field(default_factory=list)
    ids: set = field(default_factory=set)
    text: str = ""
    pictures: dict = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._image: dict | None = None
        self.feed(self.html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids.add(attributes.get("id"))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "img":
            self._image = attributes

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data
        if self._open and self._open[-1] == "figcaption" and self._image is not None:
            self.pictures[data].append(self._image)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(run):
    return Page(storage.read_bytes(write_report(run)).decode())


def pixels_of(image):
    return np.array(Image.open(BytesIO(base64.b64decode(image["src"].partition("base64,")[2]))).convert("RGB"))


#: The one link out of the page, which loads nothing: where the explorer runs on the reader's own machine.
EXPLORER = f"http://127.0.0.1:{EXPLORER_PORT}/"


def test_the_report_is_one_file_that_asks_for_nothing_else(make_run):
    page = read(make_run())
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#") or (tag, attributes["href"]) == ("a", EXPLORER)
        assert not {"srcset", "xlink:href", "action", "background"} & set(attributes)
    assert not re.search(r"url\(|@import|://", re.sub(r'src="data:[^"]*"', "", page.html.replace(EXPLORER, "")))
    assert len(page.html) < 5_000_000


def test_the_browser_is_told_to_refuse_requests_and_scripts(make_run):
    policies = [tag.get("content") for tag in read(make_run()).all("meta") if "http-equiv" in tag]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_picture_says_what_it_shows_and_every_link_has_a_target(make_run):
    page = read(make_run())
    assert all(image["alt"].strip() for image in page.all("img"))
    assert {link["href"][1:] for link in page.all("a") if link["href"] != EXPLORER} <= page.ids


def test_with_everything_all_sections_are_there(make_run):
    page = read(make_run(em=True))
    assert {"run", "scores", "classes", "pictures", "clusters", "curves", "time", "quarantine", "settings"} <= page.ids
    assert {name: len(page.pictures[name]) for name in ("image", "segments", "initial mask", "refined mask")} == {
        "image": 5,
        "segments": 5,
        "initial mask": 5,
        "refined mask": 5,
    }
    assert len(page.pictures["ground truth"]) == 5
    assert len(page.all("svg")) == 3
    for text in ("sky", "grass", "token k-means (baseline)", "one-to-one", "Every image could be used", "DeepLabV3"):
        assert text in page.text


def test_the_scores_are_those_of_the_metrics(make_run):
    run = make_run()
    metrics = storage.read_json(run.path("summary.json"))["metrics"]
    cells = read(run).text
    for name in ("initial", "refined"):
        for value in (metrics[name]["one_to_one"]["miou"], metrics[name]["datus2"]["coverage"], metrics[name]["nmi"]):
            assert f"{100 * value:.1f}" in cells


def test_without_ground_truth_nothing_speaks_of_scores(make_run):
    page = read(make_run(classes=None))
    assert not {"scores", "classes"} & page.ids
    assert "ground truth" not in page.pictures
    for word in ("mIoU", "one-to-one", "ground truth", "baseline", "no class"):
        assert word not in page.text
    assert len(page.pictures["refined mask"]) == 5


def test_without_refinement_the_reason_is_given(make_run):
    page = read(make_run(refined=False))
    assert page.text.count("skipped: 5 images with masks, under refine.min_images = 20") >= 2
    assert "refined mask" not in page.pictures
    assert len(page.all("svg")) == 1


def test_neither_ground_truth_nor_refinement_and_a_single_image(make_run):
    page = read(make_run(classes=None, refined=False, images=1, clusters=2))
    assert set(page.pictures) >= {"image", "segments", "initial mask"}


def test_an_untrained_backbone_and_supervised_weights_are_announced(make_run):
    page = read(make_run(trained=False, refinement={"encoder_start": "supervised", "supervised": True}))
    assert "Untrained backbone" in page.text
    assert "the refined masks are not unsupervised" in page.text
    assert sum(tag.get("role") == "note" for tag in page.all("p")) == 2


def test_a_clean_run_has_no_warning(make_run):
    assert not [tag for tag in read(make_run()).all("p") if tag.get("role") == "note"]


def test_names_from_strangers_stay_text(make_run):
    faults = [{"image_id": HOSTILE[1], "stage": "ingest", "kind": HOSTILE[0], "message": HOSTILE[2]}]
    page = read(make_run(image_ids=HOSTILE, classes=HOSTILE, quarantine=faults, refinement={"encoder": HOSTILE[0]}))
    plain = read(make_run(images=4, classes=["a", "b", "c", "d"], quarantine=[dict.fromkeys(faults[0], "x")]))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert {key for _, attributes in page.tags for key in attributes} == {
        key for _, attributes in plain.tags for key in attributes
    }
    for name in HOSTILE:
        assert name in page.text
        assert f"Image {name}" in [image["alt"] for image in page.all("img")]


def test_reasons_of_quarantine_are_shown_and_counted(make_run):
    faults = [
        {"image_id": f"bad_{i}", "stage": "ingest", "kind": "unreadable", "message": f"cut off at {i}"}
        for i in range(60)
    ]
    faults.append({"image_id": "tiny", "stage": "discover", "kind": "too_small", "message": "1x1 pixels"})
    page = read(make_run(quarantine=faults))
    for text in ("bad_0", "cut off at 0", "too_small", "tiny", "1x1 pixels", "and 10 others"):
        assert text in page.text


@pytest.mark.parametrize("dataset", ["folder", "camvid"])
def test_a_perfect_mask_looks_exactly_like_the_ground_truth(make_run, dataset):
    classes = known.find(dataset).class_names or ("sky", "grass", "tree")
    page = read(make_run(perfect=True, dataset=dataset, classes=classes, clusters=len(classes), images=4))
    pairs = list(zip(page.pictures["initial mask"], page.pictures["ground truth"], strict=True))
    assert len(pairs) == 4
    assert "a cluster without a class" not in page.text
    for mask, truth in pairs:
        np.testing.assert_array_equal(pixels_of(mask), pixels_of(truth))


def test_a_matched_cluster_has_the_colour_of_its_class_in_picture_and_legend(make_run):
    classes = known.find("camvid").class_names
    colours = known.find("camvid").palette
    run = make_run(dataset="camvid", classes=classes, clusters=14, images=4)
    matchings = {
        n: storage.read_json(run.path("summary.json"))["metrics"][n]["matching"] for n in ("initial", "refined")
    }
    page = read(run)
    swatches = {tag["style"] for tag in page.all("span") if tag.get("class") == "swatch"}
    assert {f"--colour: #{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist()} <= swatches
    assert "a cluster without a class" in page.text
    seen = 0
    for (name, matching), facts in zip(matchings.items(), (Labelled, Predicted), strict=True):
        for part in run.require(facts).parts:
            table = parquet.read_table(run.require(facts).path(part))
            for image_id, data in zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True):
                (image,) = (i for i in page.pictures[f"{name} mask"] if i["alt"].endswith(f" of {image_id}"))
                shown = pixels_of(image)
                labels = upsample_nearest(decode_labels(data), *shown.shape[:2])
                for cluster in set(np.unique(labels).tolist()) - {255}:
                    found = {tuple(colour) for colour in shown[labels == cluster].tolist()}
                    if matching[cluster] is None:
                        assert not found & {tuple(colour) for colour in colours.tolist()}
                    else:
                        assert found == {tuple(colours[matching[cluster]].tolist())}
                    seen += 1
    assert seen > 20


def test_without_ground_truth_a_cluster_has_one_colour_everywhere(make_run):
    run = make_run(classes=None, clusters=6)
    page = read(run)
    for name, facts in (("initial", Labelled), ("refined", Predicted)):
        table = parquet.read_table(run.require(facts).path("part-000000.parquet"))
        image, shown = table["mask"][0].as_py(), pixels_of(page.pictures[f"{name} mask"][0])
        labels = upsample_nearest(decode_labels(image), *shown.shape[:2])
        for cluster in set(np.unique(labels).tolist()) - {255}:
            assert (shown[labels == cluster] == palette(6)[cluster]).all()


def test_typical_segments_are_those_with_the_smallest_distances(make_run):
    run = make_run(images=20, clusters=3, images_per_part=7)
    best = defaultdict(dict)
    for part in run.require(Labelled).parts:
        table = parquet.read_table(run.require(Labelled).path(part))
        columns = (list_arrays(table[name]) for name in ("segment_clusters", "segment_distances"))
        for image_id, *arrays in zip(table["image_id"].to_pylist(), *columns, strict=True):
            for cluster, distance in zip(*(array.tolist() for array in arrays), strict=True):
                best[cluster][image_id] = min(distance, best[cluster].get(image_id, 9.0))
    alts = [image["alt"] for image in read(run).all("img") if image["alt"].startswith("Segment ")]
    shown = [re.fullmatch(r"Segment \d of (\S+), (\S+) from the centroid", alt).groups() for alt in alts]
    cards = [shown[i : i + 8] for i in range(0, len(shown), 8)]
    wanted = [
        [(image_id, f"{d:.3g}") for image_id, d in sorted(of.items(), key=lambda item: item[1])[:8]]
        for of in best.values()
    ]
    assert sorted(cards) == sorted(wanted)


def test_more_than_254_clusters_need_16_bits_and_fewer_pictures(make_run):
    run = make_run(images=100, clusters=400, images_per_part=50)
    page = read(run)
    assert (
        decode_labels(parquet.read_table(run.require(Labelled).path("part-000000.parquet"))["mask"][0].as_py()).dtype
        == np.uint16
    )
    crops = [image for image in page.all("img") if image["alt"].startswith("Segment ")]
    assert 200 < len(crops) <= 320
    assert len(page.pictures["initial mask"]) == 12
    assert page.text.count("of all patches") >= 400
    # Noise is the last quarter of every picture, dark as the legend shows it.
    assert pixels_of(page.pictures["initial mask"][0])[-1].max() < 90


def test_another_run_over_the_same_images_is_shown_beside_and_one_over_others_is_refused(make_run, tmp_path):
    run = make_run(images=3)
    other = make_run(images=3, folder=tmp_path / "other", refined=False, seed=1)
    page = Page(storage.read_bytes(write_report(run, other)).decode())
    preset = storage.read_json(other.path("config.json"))["preset"]
    assert len(page.pictures[f"{preset}: initial mask"]) == len(page.pictures["initial mask"]) == 3
    assert f"{preset}: refined mask" not in page.pictures
    assert f"{preset}: initial masks" in page.text
    assert f"{preset}: token k-means" not in page.text
    assert f"{preset}:" not in Page(storage.read_bytes(write_report(run)).decode()).text

    add_result(other, Ingested("folder"), other.require(Ingested).parts, fingerprint="fedcba9876543210")
    with pytest.raises(UsageError, match=r"other is a run over other images than .*run; give one of the same source"):
        write_report(run, other)


def name_clusters(run, clusters, title):
    names, number = open_names(run)
    append_change(run, Change.between(names, edits.name_clusters(names, clusters, title)), number)


def test_clusters_that_were_named_have_their_names_and_without_names_nothing_is_said_of_them(make_run):
    run = make_run(classes=None)
    assert "Classes that were named" not in read(run).html
    clustered = run.require(Clustered)
    tree = merge(np.random.default_rng(0).random((4, 2)), np.ones(4))
    columns = {"node": np.arange(4, 7, dtype=np.int32), "left": tree.left, "right": tree.right, "height": tree.heights}
    parquet.write_table(
        clustered.path("tree.parquet"), pa.table({**columns, "weight": tree.weights}, schema=schemas.TREE)
    )
    centroids = {"centroid": [[0.0, 1.0]] * 4, "segments": [3] * 4}
    parquet.write_table(clustered.path("centroids.parquet"), pa.table(centroids, schema=schemas.CENTROIDS))
    add_result(run, Labelled(areas=(10, 20, 30, 40), pixels=100), run.require(Labelled).parts)
    for clusters, title in (([0, 2], HOSTILE[0]), ([1], "water")):
        name_clusters(run, clusters, title)
    page = read(run)
    for number, title in ((0, HOSTILE[0]), (1, "water"), (2, HOSTILE[0])):
        assert f"Cluster {number}: {title}" in page.text
    assert "Cluster 3: " not in page.text
    assert "go on naming" in page.text
    assert f"datus2 explore {run.uri}" in page.text
    assert "script" not in {tag for tag, _ in page.tags}

    # Names of another clustering are not shown, and the report says why.
    add_result(run, clustered.facts, {}, fingerprint="fedcba9876543210")
    for file in ("tree", "centroids", "history"):
        storage.write_bytes(
            run.require(Clustered).path(f"{file}.parquet"), storage.read_bytes(clustered.path(f"{file}.parquet"))
        )
    page = read(run)
    assert "The names are not shown" in page.text
    assert "Cluster 1: water" not in page.text
