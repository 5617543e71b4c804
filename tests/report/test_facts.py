from __future__ import annotations

import pytest

from datus2_ray.config.load import RunConfig
from datus2_ray.report.facts import count_facts, describe_refinement, read_quarantine, run_facts, title_of
from datus2_ray.report.survey import survey_segments
from datus2_ray.store import storage


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
    assert title_of(RunConfig(out="run", **flags).model_dump(mode="json")) == title


def test_what_was_run_is_told_in_full(make_run):
    run = make_run()
    config, summary = (storage.read_json(run.path(name)) for name in ("config.json", "summary.json"))
    facts = {fact.name: fact for fact in run_facts(run, config, summary)}
    assert facts["Source"].value.endswith("photos/holiday")
    assert facts["Backbone"].value == "vit_small_patch8_224.dino"
    assert "key vectors of the last block" in facts["Backbone"].note
    assert facts["Clusters"].value == "K = 4"
    assert "centroids a cluster" not in facts["Clusters"].note
    assert "first" not in facts["Clusters"].note
    config["cluster"] |= {"scaling": "centred", "pca": 8}
    note = next(fact.note for fact in run_facts(run, config, summary) if fact.name == "Clusters")
    assert note.endswith(", descriptors centred first, after PCA to 8 dimensions")
    assert facts["Versions"].value == "ray 2.60.0"
    assert facts["Machine"].value == "Linux, 2 processors"
    assert facts["Finished"].value.endswith("UTC")


def test_the_graph_and_the_noise_are_told_as_they_were_chosen_and_for_runs_older_than_the_choice(make_run):
    run = make_run()
    config, summary = (storage.read_json(run.path(name)) for name in ("config.json", "summary.json"))

    def notes() -> tuple[str, str]:
        facts = {fact.name: fact.note for fact in run_facts(run, config, summary)}
        return facts["Backbone"], facts["Segments"]

    before = notes()
    assert before[0].endswith("span the binary graph")
    assert before[1].endswith("patches is noise")
    config["discover"] |= {"graph": "neighbours", "neighbours": 12, "noise": "given"}
    assert notes()[0].endswith("span a graph of each patch's 12 nearest neighbours")
    assert notes()[1].endswith("goes to the segment that it is most alike")
    config["discover"] |= {"blocks": 3, "keep_aspect": True, "mirror": True}
    assert "sees a short side of 224 pixels, and the mirror image; its key vectors of 3 blocks" in notes()[0]
    config["discover"] |= {"tile": 112, "place": 0.2, "colour": 0.1, "threshold": 0.3}
    assert "a short side of 224 pixels, through windows of 112 pixels, and the mirror image" in notes()[0]
    assert notes()[0].endswith("12 nearest neighbours, also by their places and colours, of weights above 0.3")
    added = ("tile", "place", "colour", "threshold")
    config["discover"] = {name: value for name, value in config["discover"].items() if name not in added}
    config["discover"] |= {"blocks": 1, "keep_aspect": False, "mirror": False}
    del config["discover"]["graph"], config["discover"]["noise"]
    assert notes() == before


def test_counts(make_run):
    run = make_run(images=4)
    counts = {fact.name: fact.value for fact in count_facts({**SUMMARY, "images": 4}, survey_segments(run, 4))}
    assert counts["segments"] == "12"
    assert counts["segments / image"] == "3.0"
    assert counts["noise"] == "25.0 %"


SUMMARY = {"quarantined": 0, "clusters": 4}

TRAINED = {
    "encoder": "resnet50",
    "encoder_start": "moco_v2.pth",
    "supervised": False,
    "output_stride": 8,
    "size": 224,
    "batch_size": 8,
    "steps": 4000,
}


def test_a_refinement_says_where_its_encoder_started():
    assert describe_refinement({**TRAINED, "best_step": 3600})[0] == (
        "DeepLabV3, resnet50 from weights from moco_v2.pth, output stride 8, 4,000 steps; step 3,600 is kept"
    )
    assert "(supervised)" in describe_refinement({**TRAINED, "supervised": True})[0]
    assert "random weights" in describe_refinement({**TRAINED, "encoder_start": "random"})[0]
    linear = {"network": "linear", "size": 224, "batch_size": 8, "steps": 400}
    assert describe_refinement(linear)[0] == "a linear layer on the tokens of the frozen backbone, 400 steps"
    assert describe_refinement({"skipped": "too few images"})[0] == "skipped: too few images"


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
