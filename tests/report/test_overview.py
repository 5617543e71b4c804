from __future__ import annotations

from dataclasses import replace

import pytest

from datus2_ray.config import RunConfig
from datus2_ray.report.facts import read_run
from datus2_ray.report.overview import (
    count_lines,
    describe_refinement,
    read_quarantine,
    run_lines,
    title_of,
    warnings_of,
)
from datus2_ray.report.survey import survey_segments
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, HeadLearned
from tests.report.conftest import FITTED, REFINED

LEARNED = HeadLearned(
    dim=192, codes=64, backbone="sha256=0", images=1200, share=1.0, tokens=320, workers=1, steps=800,
    shifts=(0.1, 0.2, 0.3), model="model.safetensors",
)  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "title"),
    [
        ({"source": "/data/holiday/"}, "holiday"),
        ({"source": "s3://bucket/photos"}, "photos"),
        ({"source": "x", "dataset": "camvid"}, "CamVid"),
        ({"source": "x", "dataset": "camvid", "split": "val"}, "CamVid, val"),
    ],
)
def test_a_run_is_called_by_its_data(flags, title):
    assert title_of(RunConfig(out="run", **flags)) == title


def changed(run, **sections):
    """Return the run with other settings."""
    config = {name: getattr(run.config, name).model_copy(update=settings) for name, settings in sections.items()}
    return replace(run, config=run.config.model_copy(update=config))


def notes(run):
    return {line.name: line.note for line in run_lines(run)}


def test_what_was_run_is_told_in_full(make_run):
    run = read_run(make_run())
    lines = {line.name: line for line in run_lines(run)}
    assert lines["Source"].value.endswith("photos/holiday")
    assert lines["Backbone"].value == "vit_small_patch8_224.dino"
    assert "key vectors of the last block" in lines["Backbone"].note
    assert lines["Clusters"].value == "K = 4"
    assert "centroids per cluster" not in lines["Clusters"].note
    assert "first" not in lines["Clusters"].note
    scaled = changed(run, cluster={"scaling": "centred", "pca": 8})
    assert notes(scaled)["Clusters"].endswith(", descriptors centred first, after PCA to 8 dimensions")
    assert lines["Versions"].value == "ray 2.60.0"
    assert lines["Machine"].value == "Linux, 2 processors"
    assert lines["Finished"].value.endswith("UTC")


def test_a_head_is_told_as_what_describes_segments(make_run):
    run = read_run(make_run())
    assert {line.name: line.value for line in run_lines(run)}["Descriptor"] == "cls"
    commit = Commit("head", "0", 320, 320, 0, {}, LEARNED)
    line = next(line for line in run_lines(replace(run, learned=commit)) if line.name == "Descriptor")
    assert line.value == "64 codes of a head, 800 steps"
    assert "learned from the tokens of 1,200 images" in line.note


def test_the_graph_and_the_noise_are_told_as_they_were_chosen(make_run):
    run = read_run(make_run())
    assert "; the binary graph of its key vectors" in notes(run)["Backbone"]
    assert notes(run)["Segments"].endswith("patches is noise")
    graph = {"graph": "neighbours", "neighbours": 12, "noise": "given"}
    assert (
        "; a graph of each patch's 12 nearest neighbours of its key" in notes(changed(run, discover=graph))["Backbone"]
    )
    assert notes(changed(run, discover=graph))["Segments"].endswith("goes to the most similar segment")
    seen = {**graph, "blocks": 3, "keep_aspect": True, "mirror": True}
    note = notes(changed(run, discover=seen))["Backbone"]
    assert "sees a short side of 224 pixels, and the mirror image;" in note
    assert note.endswith("its key vectors of 3 blocks up to the last block (their mean)")
    in_patches = {**seen, "grid": 28, "input_size": None}
    assert "sees a short side of 28 patches, and" in notes(changed(run, discover=in_patches))["Backbone"]
    weighted = {**seen, "tile": 112, "place": 0.2, "colour": 0.1, "threshold": 0.3}
    note = notes(changed(run, discover=weighted))["Backbone"]
    assert "a short side of 224 pixels, through windows of 112 pixels, and the mirror image" in note
    assert "12 nearest neighbours, also by their places and colours, with weights above 0.3, of its key" in note


def test_patches_as_units_are_told(make_run):
    run = changed(read_run(make_run()), discover={"unit": "patches", "descriptor": "tokens"})
    assert notes(run)["Segments"] == "every patch is a segment of its own: there is no graph, and no noise"
    assert notes(run)["Backbone"].endswith("; the tokens of the last block")
    counts = {line.name: line.note for line in count_lines(run, survey_segments(run))}
    assert counts["segments"] == "every patch is one"


def test_counts(make_run):
    run = read_run(make_run(images=4))
    counts = {line.name: line.value for line in count_lines(run, survey_segments(run))}
    assert counts["segments"] == "12"
    assert counts["segments / image"] == "3.0"
    assert counts["noise"] == "25.0 %"


def test_images_without_structure_are_told_where_there_are_any(make_run):
    run = read_run(make_run())
    some = replace(run, discovered=replace(run.discovered, facts=Discovered(unstructured=3)))
    notes = [
        {line.name: line.note for line in count_lines(one, survey_segments(one))}["segments"] for one in (run, some)
    ]
    assert "structure" not in notes[0]
    assert notes[1].endswith("; no structure was found in 3 of the images, each of which is one segment")


def test_a_refinement_says_where_its_encoder_started():
    trained = replace(REFINED, encoder="resnet50", encoder_start="moco_v2.pth", output_stride=8, best_step=3600)
    assert describe_refinement(None, trained, "")[0] == (
        "DeepLabV3, resnet50 from weights from moco_v2.pth, output stride 8, 4,000 steps; step 3,600 is kept"
    )
    assert "(supervised)" in describe_refinement(None, replace(trained, supervised=True), "")[0]
    assert "random weights" in describe_refinement(None, REFINED, "")[0]
    assert describe_refinement(None, None, "too few images")[0] == "skipped: too few images"


def test_em_is_told_before_what_learned_from_it():
    value, note = describe_refinement(FITTED, None, "")
    assert value == "EM on segments: a linear layer on tokens, 2 rounds, 4 steps"
    assert "99.0 % of the tokens kept theirs in the last round" in note
    both, note = describe_refinement(FITTED, replace(REFINED, targets="em"), "")
    assert both.startswith(f"{value}; then DeepLabV3, ")
    assert "trained on the masks of EM only" in note


def test_quarantine_is_grouped_by_step_and_fault(make_run):
    rows = [("b", "ingest", "empty"), ("a", "ingest", "empty"), ("c", "discover", "unreadable")]
    names = ("image_id", "stage", "kind")
    run = make_run(quarantine=[{**dict(zip(names, row, strict=True)), "message": f"of {row[0]}"} for row in rows])
    groups = read_quarantine(run)
    assert [(group.stage, group.kind, group.count) for group in groups] == [
        ("ingest", "empty", 2),
        ("discover", "unreadable", 1),
    ]
    assert groups[0].examples == [("a", "of a"), ("b", "of b")]


def test_a_mean_that_was_assumed_is_said(make_run):
    run = read_run(make_run())
    assert warnings_of(run) == []
    (warning,) = warnings_of(replace(run, backbone=replace(run.backbone, assumed=True)))
    assert "does not say with which mean and deviation of pixels it was trained: ImageNet's were taken" in warning.value
