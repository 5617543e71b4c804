"""Backbones compared: which runs there are, what they share, the same table after kills, and what the table says."""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.experiments.backbones import BackboneVariant, split_block, variants
from datus2_ray.commands.experiments.backbones_answer import chart, compare, table, write_backbones
from datus2_ray.commands.experiments.run import Result
from datus2_ray.config.load import load
from datus2_ray.config.presets import preset_values
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.sources.list_source import list_source
from datus2_ray.store import parquet, storage

QUICK = (
    "ingest.images_per_part=4",
    "discover.grid=8",
    "cluster.restarts=1",
    "cluster.fine=30",
    "evaluate.token_restarts=1",
    "refine.enabled=false",
)
DEFAULT, UNTRAINED = "datus2-vit-tiny-8", "untrained:vit_tiny_patch16_224"


def command(scenes: Path, out: Path, *more: str) -> list[str]:
    line = ["experiment", "backbones", str(scenes), "--out", str(out), "--dataset", "demo", "--limit", "8"]
    return [*line, "--seeds", "2", *(part for setting in QUICK for part in ("--set", setting)), *more]


def test_every_backbone_has_both_presets_at_both_numbers_of_clusters(scenes: Path, tmp_path: Path) -> None:
    file = tmp_path / "vit.safetensors"
    file.write_bytes(PACKAGED_WEIGHTS.read_bytes())
    base = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, assignments=("discover.tau=7",))
    found = variants(base, [UNTRAINED, f"{file}@-3"], False, list_source(base))
    assert [(one.backbone, one.preset, one.over) for one in found] == [
        (backbone, preset, over)
        for backbone in (UNTRAINED, "vit.safetensors, block −3")
        for preset in ("best", "paper")
        for over in (False, True)
    ]
    configs = [one.apply(base) for one in found]
    assert [config.clusters for config in configs] == [6, 18] * 4
    assert [config.backbone for config in configs] == [UNTRAINED] * 4 + [str(file)] * 4
    assert [config.discover.block for config in configs] == [-1] * 4 + [-3] * 4
    best, paper = configs[4], configs[6]
    assert best.discover == base.discover.model_copy(update={"block": -3})
    assert paper.discover.identity() == {
        **base.discover.identity(), **preset_values("paper")["discover"], "block": -3,
    }  # fmt: skip
    assert (best.refine, best.evaluate) == (base.refine, base.evaluate)
    assert (paper.refine.network, paper.refine.enabled, paper.evaluate.token_kmeans) == ("deeplabv3", False, False)
    refined = variants(base, [UNTRAINED], True, list_source(base))
    assert [one.apply(base).refine.enabled for one in refined] == [True] * 4


def test_names_have_their_folders_where_these_tell_them_apart(scenes: Path, tmp_path: Path) -> None:
    base = load({"source": str(scenes), "out": "unused", "dataset": "demo"})
    given = ["a/vit.pth", "b/vit.pth", "c/other.pth::vit_small_patch16_224@2", "owner/name@v2"]
    named = dict.fromkeys(one.backbone for one in variants(base, given, False, list_source(base)))
    assert list(named) == ["a/vit.pth", "b/vit.pth", "other.pth, block 2", "name@v2"]
    (tmp_path / "vit@1").touch()
    assert split_block(f"{tmp_path}/vit@1") == (f"{tmp_path}/vit@1", None)
    assert split_block(f"{tmp_path}/vit@2") == (f"{tmp_path}/vit", 2)


def test_what_cannot_be_compared_is_refused(here: None, scenes: Path, tmp_path: Path) -> None:
    def refused(message: str, *more: str, source: Path = scenes) -> None:
        done = CliRunner().invoke(app, command(source, tmp_path / "out", *more))
        assert message in str(done.exception)

    refused("name the backbones that are compared: --backbones A")
    refused("each is compared once", "--backbones", DEFAULT, "--backbones", DEFAULT)
    refused("name all that are compared by --backbones", "--backbones", DEFAULT, "--backbone", UNTRAINED)
    refused("--values are those of a sweep", "--backbones", DEFAULT, "--values", "6")
    refused("has 8 blocks, so there is no block -20", "--backbones", f"{DEFAULT}@-20")
    refused("give --clusters", "--backbones", DEFAULT, "--dataset", "folder")
    done = CliRunner().invoke(app, ["experiment", "clusters", str(scenes), "--out", "out", "--backbones", DEFAULT])
    assert "not of clusters" in str(done.exception)


def test_runs_share_what_they_can_and_end_alike_when_they_are_killed_twice(
    here: None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    kills: list[tuple[str, int]] = []
    original = parquet.write_table

    def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
        stage = uri.split("/")[-3]
        if "/part-" in uri:
            if kills and kills[0] == (stage, sum(one.split("/")[-3] == stage for one in written)):
                kills.pop(0)
                raise KeyboardInterrupt
            written.append(uri)
        original(uri, table, row_group_rows)

    monkeypatch.setattr(parquet, "write_table", write_table)
    # Seconds differ from run to run.
    monkeypatch.setattr("datus2_ray.engine.execute.time", SimpleNamespace(monotonic=lambda: 0.0))
    backbones = ("--backbones", f"{DEFAULT}@-3")

    whole = CliRunner().invoke(app, command(scenes, tmp_path / "whole", *backbones), catch_exceptions=False)
    assert whole.exit_code == 0
    # Two parts, two presets; segments are found once for both seeds and both numbers of clusters.
    counts = {stage: sum(uri.split("/")[-3] == stage for uri in written) for stage in ("ingest", "discover", "label")}
    assert counts == {"ingest": 2, "discover": 2 * 2, "label": 2 * 2 * 2 * 2}
    assert len(set(written)) == len(written)
    # Of best: fine clusters are found once for both numbers of clusters, those of segments and those of tokens.
    results = {stage: len([*(tmp_path / "whole" / "runs" / stage).iterdir()]) for stage in ("token_tree", "baseline")}
    assert results == {"token_tree": 2, "baseline": 2 * 2}

    written.clear()
    kills += [("discover", 3), ("evaluate", 9)]
    for _ in range(2):
        CliRunner().invoke(app, command(scenes, tmp_path / "killed", *backbones))
    assert not kills
    last = CliRunner().invoke(app, command(scenes, tmp_path / "killed", *backbones), catch_exceptions=False)
    assert len(set(written)) == len(written)
    for file in ("backbones.md", "backbones.svg", "backbones.csv"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert (tmp_path / "whole" / "backbones.md").read_text() in last.output


def test_what_has_fewer_segments_than_clusters_is_left_out(here: None, scenes: Path, tmp_path: Path) -> None:
    few = ("--seeds", "1", "--backbones", DEFAULT, "--limit", "4", "--clusters", "5", "--set", "discover.tau=0")
    done = CliRunner().invoke(app, command(scenes, tmp_path, *few), catch_exceptions=False)
    assert "=== left out: datus2-vit-tiny-8, paper, K = 15, seed 0: K = 15 is larger than the " in done.output
    lines = [line.split(" | ") for line in (tmp_path / "backbones.md").read_text().splitlines()[2:]]
    assert [line[1] for line in lines] == ["token k-means", "paper", "best"]
    assert [[bool(cell) for cell in line[6:10]] for line in lines] == [[True] * 4, [False] * 4, [True] * 4]


def made(backbone: str, preset: str, seed: int, over: bool, miou: float, **others: Any) -> Result:
    def scores(value: float) -> dict[str, Any]:
        rules = {name: {"miou": value, "pixel_accuracy": value + 0.2, "mean_f1": value + 0.1} for name in RULES}
        return {**rules, "datus2": {**rules["datus2"], "coverage": 0.75}, "nmi": value - 0.05, "ari": 0.0}

    masks = {"initial": miou, **({"refined": miou + 0.1, "token_kmeans": 0.15} if preset == "best" else {})}
    summary = {
        "images": 4,
        "clusters": 18 if over else 6,
        "segments": 40,
        "segments_found": 100,
        "seconds_per_row": {"discover": 0.5},
        "memory": {"discover": 1_250_000_000},
        "metrics": {"protocol": "datus2", **{name: scores(value) for name, value in masks.items()}},
        **others,
    }
    return Result(BackboneVariant("", backbone=backbone, preset=preset, over=over), seed, summary)


RULES = ("one_to_one", "many_to_one", "datus2")
RESULTS = [
    made(backbone, preset, seed, over, 0.2 + 0.3 * over + 0.02 * seed, **({"memory": {}} if seed else {}))
    for backbone in ("A", "B")
    for preset in ("best", "paper")
    for over in (False, True)
    for seed in (0, 1)
]


def test_the_table_has_mean_deviation_and_cost() -> None:
    lines = table(compare(RESULTS)).splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        [f"| {name}", masks] for name in "AB" for masks in ("token k-means", "paper", "best")
    ]
    header, paper = ([cell.strip() for cell in lines[i].split("|")[1:-1]] for i in (0, 3))
    found = dict(zip(header, paper, strict=True))
    assert statistics.stdev([20, 22]) == pytest.approx(1.4142, abs=1e-4)
    assert (found["mIoU, K = 6"], found["acc., K = 6"], found["F1, K = 6"], found["NMI, K = 6"]) == (
        "21.0 ± 1.4", "41.0 ± 1.4", "31.0 ± 1.4", "16.0 ± 1.4",
    )  # fmt: skip
    assert found["mIoU, K = 18 n:1"] == "51.0 ± 1.4"
    assert found["segments found / valid per image"] == "25.0 / 10.0"
    assert (found["coverage"], found["discover, s per image"], found["actor, GB"]) == ("75", "0.500", "1.25")
    # Of the other preset the refined masks count.
    assert lines[4].split("|")[3].strip() == "31.0 ± 1.4"


def test_the_csv_has_a_row_per_run_and_set_of_masks(tmp_path: Path) -> None:
    _, uris = write_backbones(RESULTS, str(tmp_path))
    read = list(csv.DictReader(io.StringIO(storage.read_bytes(uris[0]).decode())))
    assert len(read) == 2 * 4 * (3 + 1)
    assert {row["masks"] for row in read} == {"initial", "refined", "token_kmeans"}
    first = read[0]
    assert (first["backbone"], first["preset"], first["clusters"], first["seed"]) == ("A", "best", "6", "0")
    assert (float(first["one_to_one_miou"]), float(first["datus2_coverage"]), first["actor_bytes"]) == (
        0.2, 0.75, "1250000000",
    )  # fmt: skip
    assert read[3]["actor_bytes"] == ""


def test_the_chart_has_a_row_per_backbone_and_a_point_per_preset() -> None:
    root = ElementTree.fromstring(chart(compare(RESULTS)).encode())
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {"A", "B", "token k-means", "paper", "best"} <= set(texts)
    dots = [element for element in root.iter() if element.tag.endswith("}circle")]
    assert len(dots) == 3 + 2 * 3  # of the legend, and of the points
