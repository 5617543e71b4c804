"""Experiments: which variants there are, that they share what they can, and that a second call does nothing again."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.experiments.answer import rows, table, write_answer
from datus2_ray.commands.experiments.run import Result, run_experiment
from datus2_ray.commands.experiments.variants import EXPERIMENTS
from datus2_ray.config.load import RunConfig, load
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.errors import UsageError
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.listing import Listing
from datus2_ray.store import parquet, storage
from datus2_ray.store.run_folder import RunFolder

QUICK = (
    "refine.enabled=false",
    "ingest.images_per_part=4",
    "discover.input_size=64",
    "discover.tau=1",
    "discover.descriptor=tokens",
    "cluster.restarts=1",
    "cluster.fine=16",
    "evaluate.token_restarts=1",
)


def base(scenes: Path, out: Path, preset: str = "best", **flags: Any) -> RunConfig:
    flags = {"source": str(scenes), "out": str(out), "dataset": "demo", "limit": 8, **flags}
    return load(flags, preset=preset, assignments=QUICK)


@pytest.fixture(scope="module")
def listing(scenes: Path) -> Listing:
    return list_source(load({"source": str(scenes), "out": "unused", "dataset": "demo"}))


def test_an_ablation_of_best_takes_each_part_away_and_ends_at_the_papers(scenes: Path, listing: Listing) -> None:
    best = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, preset="best")
    variants = {variant.name: variant.apply(best) for variant in EXPERIMENTS["ablation"].variants(best, (), listing)}
    assert next(iter(variants)) == "best"
    assert variants["best"] == best
    assert variants["binary graph"].discover.graph == "binary"
    assert variants["binary graph"].discover.feature == "token"  # one part at a time
    paper = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, preset="paper")
    assert variants["the paper's"].discover.identity() == paper.discover.identity()
    assert variants["the paper's"].cluster.identity() == paper.cluster.identity()
    identities = [str(config.identity()) for config in variants.values()]
    assert len(set(identities)) == len(identities)
    with pytest.raises(UsageError, match="an ablation has none"):
        EXPERIMENTS["ablation"].variants(best, (1.0,), listing)


def test_an_ablation_of_the_paper_has_what_it_leaves_out_only(scenes: Path, listing: Listing) -> None:
    paper = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, preset="paper")
    names = [variant.name for variant in EXPERIMENTS["ablation"].variants(paper, (), listing)]
    assert names[0] == "paper"
    assert "binary graph" not in names
    assert "and mirror image" in names


@pytest.mark.parametrize("preset", ["best", "fast", "paper"])
def test_every_preset_has_an_ablation(scenes: Path, listing: Listing, preset: str) -> None:
    config = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, preset=preset)
    variants = {
        variant.name: variant.apply(config) for variant in EXPERIMENTS["ablation"].variants(config, (), listing)
    }
    windows = variants["and twice the size, in windows"].discover
    assert (windows.input_size, windows.tile) == (448, 224)
    assert ("colours do not count" in variants) == (config.discover.graph == "neighbours")
    assert variants["and patches as units, by their tokens"].discover.unit == "patches"


def test_sweeps_have_their_values_or_their_own(scenes: Path, listing: Listing) -> None:
    config = base(scenes, Path("unused"))

    def of(name: str, *values: float) -> list[RunConfig]:
        return [variant.apply(config) for variant in EXPERIMENTS[name].variants(config, values, listing)]

    assert [one.clusters for one in of("clusters")] == [6, 9, 12, 18, 24]
    assert [one.clusters for one in of("clusters", 5, 7)] == [5, 7]
    assert [one.clusters for one in of("names")] == [6, 27, 60, 120, 240]
    assert [one.discover.resolution for one in of("resolution", 2, 0.5)] == [2, 0.5]
    assert [one.discover.grid for one in of("patch-size")] == [28, 16, 14]
    assert {one.discover.input_size for one in of("patch-size")} == {None}
    assert [one.limit for one in of("data-size")] == [3, 6, 12, 24]


def test_what_cannot_be_compared_is_refused(scenes: Path, tmp_path: Path) -> None:
    def refused(name: str, message: str, *values: float, **flags: Any) -> None:
        with pytest.raises(UsageError, match=message):
            run_experiment(name, base(scenes, tmp_path / "out", **flags), 1, values, print)

    refused("ablations", "unknown experiment 'ablations'; there are ablation, clusters,")
    refused("resolution", "resolution: these settings or values do not fit: .*greater than 0", 0.0)
    refused("clusters", "has no ground truth", source=str(scenes / "images"), dataset="folder", clusters=4)


class Parts:
    """Counts how often each part of a table is written, by stage, fingerprint and name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: Counter[str] = Counter()
        original = parquet.write_table

        def write_table(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
            place = "/".join(uri.split("/")[-3:])
            if "/part-" in place:
                self.written[place] += 1
            original(uri, table, row_group_rows)

        monkeypatch.setattr(parquet, "write_table", write_table)

    def of(self, stage: str) -> int:
        return sum(count for place, count in self.written.items() if place.startswith(f"{stage}/"))


@pytest.fixture
def parts(here: None, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return Parts(monkeypatch)


def events(out: Path, stage: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "runs" / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("stage") == stage and "rows_done" in line]


def test_runs_share_their_results_and_are_done_once(parts: Parts, scenes: Path, tmp_path: Path) -> None:
    config, notes = base(scenes, tmp_path / "out"), list[str]()
    results = run_experiment("clusters", config, 2, (6, 9), notes.append)
    assert notes == ["K = 6, seed 0", "K = 6, seed 1", "K = 9, seed 0", "K = 9, seed 1"]
    assert [(result.variant.value, result.seed) for result in results] == [(6, 0), (6, 1), (9, 0), (9, 1)]
    # Four runs, four images a part: each part of what they share is written once, of what they do not once a run.
    assert set(parts.written.values()) == {1}
    assert {stage: parts.of(stage) for stage in ("ingest", "survey", "discover", "label", "evaluate")} == {
        "ingest": 2, "survey": 2, "discover": 2, "label": 8, "evaluate": 8,
    }  # fmt: skip
    assert {result.summary["clusters"] for result in results} == {6, 9}
    assert results[0].summary["metrics"]["initial"] != results[1].summary["metrics"]["initial"]
    assert RunFolder(str(tmp_path / "out" / "runs")).read()["command"] == "experiment"

    # Found before: nothing is written again.
    again = run_experiment("clusters", config, 2, (6, 9), notes.append)
    assert again == results
    assert set(parts.written.values()) == {1}

    _, uris = write_answer("clusters", results, config.out)
    assert [Path(uri).name for uri in uris] == ["clusters.csv", "clusters.md", "clusters.svg"]
    read = list(csv.DictReader(io.StringIO(storage.read_bytes(uris[0]).decode())))
    assert [row["seed"] for row in read] == ["0", "1", "0", "1"]
    scores = [100 * result.summary["metrics"]["initial"]["one_to_one"]["miou"] for result in results[:2]]
    assert [float(row["initial_miou"]) for row in read[:2]] == pytest.approx(scores, abs=1e-3)
    first = rows(results)[0]
    assert first.miou["initial"][0] == pytest.approx(sum(scores) / 2)
    assert first.miou["initial"][1] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert f"{first.miou['initial'][0]:.1f} ± {first.miou['initial'][1]:.1f}" in table([first])
    assert "refined" not in table([first])
    assert storage.read_bytes(uris[1]).decode().startswith(f"{table(rows(results))}\nOne-to-one, K = ")


def test_other_images_or_weights_are_noticed(parts: Parts, scenes: Path, tmp_path: Path) -> None:
    source, weights = tmp_path / "scenes", tmp_path / "vit.safetensors"
    shutil.copytree(scenes, source)
    shutil.copyfile(PACKAGED_WEIGHTS, weights)
    beside = json.loads(PACKAGED_WEIGHTS.with_suffix(".json").read_text())
    weights.with_suffix(".json").write_text(json.dumps(beside))
    config = base(source, tmp_path / "out", preset="paper", backbone=str(weights), limit=4)

    def run() -> tuple[int, int, list[Result]]:
        parts.written.clear()
        results = run_experiment("clusters", config, 1, (4,), lambda line: None)
        return parts.of("ingest"), parts.of("discover"), results

    assert run()[:2] == (1, 1)
    assert run()[:2] == (0, 0)
    # Other weights under the same name.
    weights.with_suffix(".json").write_text(json.dumps({**beside, "mean": [0.1, 0.2, 0.3]}))
    assert run()[:2] == (0, 1)
    # Another image under the same name.
    first, second = sorted((source / "images").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    before = run()
    assert before[:2] == (1, 1)
    assert run() == (0, 0, before[2])


def test_seconds_per_image_are_those_of_the_images_that_an_attempt_did(
    here: None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = base(scenes, tmp_path / "out", preset="paper")
    clock = [0.0]
    write_table = parquet.write_table

    def slow(uri: str, table: pa.Table, row_group_rows: int | None = None) -> None:
        """Take ten seconds for a part of `discover`, and fail at the second one of the first attempt."""
        if "/discover/" in uri and "/part-" in uri:
            if uri.endswith("part-000001.parquet") and not clock[0] > 10:
                clock[0] += 1000
                raise KeyboardInterrupt
            clock[0] += 10
        write_table(uri, table, row_group_rows)

    monkeypatch.setattr(parquet, "write_table", slow)
    monkeypatch.setattr("datus2_ray.engine.execute.time", SimpleNamespace(monotonic=lambda: clock[0]))
    with pytest.raises(KeyboardInterrupt):
        run_experiment("clusters", config, 1, (4,), lambda line: None)
    (result,) = run_experiment("clusters", config, 1, (4,), lambda line: None)
    # Two parts of four images: ten seconds and the thousand that were lost, then ten.
    assert [(event["rows_done"], event["seconds"]) for event in events(tmp_path / "out", "discover")] == [
        (4, 1010), (4, 10),
    ]  # fmt: skip
    assert result.seconds_per_image == pytest.approx(1020 / 8)
    assert result.summary["seconds"]["discover"] == 1020


def test_seconds_that_a_killed_attempt_took_with_it_are_left_empty(here: None, scenes: Path, tmp_path: Path) -> None:
    config = base(scenes, tmp_path / "out", preset="paper")
    run_experiment("clusters", config, 1, (4,), lambda line: None)
    # Killed after the last part of `discover`: its end is not in the log, and there is nothing left to do.
    log = tmp_path / "out" / "runs" / "events.jsonl"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if '"discover"' not in line))
    (commit,) = (tmp_path / "out" / "runs").glob("discover/*/_COMMIT.json")
    commit.unlink()
    results = run_experiment("clusters", config, 1, (4,), lambda line: None)
    assert results[0].seconds_per_image is None
    assert table(rows(results)).endswith(" |  |\n")
    assert storage.read_bytes(write_answer("clusters", results, config.out)[1][0])


def test_the_command_prints_the_table_and_draws_variants(here: None, scenes: Path, tmp_path: Path) -> None:
    line = ["experiment", "patch-size", str(scenes), "--out", str(tmp_path), "--dataset", "demo", "--limit", "8"]
    line += ["--seeds", "1", "--values", "16"] + [part for setting in QUICK[1:] for part in ("--set", setting)]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| 16 of 224 pixels a patch |" in done.output
    assert ElementTree.parse(tmp_path / "patch-size.svg").getroot().tag.endswith("svg")


def test_names_are_compared_with_a_probe(here: None, scenes: Path, tmp_path: Path) -> None:
    config = base(scenes, tmp_path / "out")
    results = run_experiment("names", config, 1, (6, 12), lambda line: None)
    assert [result.summary["clusters"] for result in results] == [6, 12]
    probe = results[0].probe
    assert probe is not None
    assert results[1].probe == probe
    assert probe.images == 8
    text, uris = write_answer("names", results, config.out)
    named = [result.summary["metrics"]["initial"]["many_to_one"] for result in results]
    for scores, line in zip(named, text.splitlines()[2:], strict=True):
        assert f"| {100 * scores['miou']:.1f} / {100 * scores['pixel_accuracy']:.1f} |" in line
        assert f"| {100 * probe.miou:.1f} / {100 * probe.pixel_accuracy:.1f} |" in line
    read = list(csv.DictReader(io.StringIO(storage.read_bytes(uris[0]).decode())))
    assert float(read[0]["probe_miou"]) == pytest.approx(100 * probe.miou, abs=1e-3)
    assert "linear probe" in storage.read_bytes(uris[2]).decode()
