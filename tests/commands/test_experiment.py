"""Experiments: which variants there are, that they share what they can, and that a second call does nothing again."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.cli.flags import numbers
from datus2_ray.commands.experiment import run_experiment
from datus2_ray.commands.experiment_answer import rows, table, write_answer
from datus2_ray.commands.experiment_variants import EXPERIMENTS
from datus2_ray.config.load import RunConfig, load
from datus2_ray.errors import UsageError
from datus2_ray.sources.listing import Listing, list_source
from datus2_ray.store import storage

QUICK = (
    "refine.enabled=false",
    "discover.actors=1",
    "discover.input_size=64",
    "discover.tau=1",
    "cluster.workers=1",
    "cluster.restarts=1",
    "cluster.overclustering=2",
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
    paper = load({"source": str(scenes), "out": "unused", "dataset": "demo"})
    names = [variant.name for variant in EXPERIMENTS["ablation"].variants(paper, (), listing)]
    assert names[0] == "paper"
    assert "binary graph" not in names
    assert "and mirror image" in names


@pytest.mark.parametrize("preset", ["best", "demo", "fast", "paper"])
def test_every_preset_has_an_ablation(scenes: Path, listing: Listing, preset: str) -> None:
    config = load({"source": str(scenes), "out": "unused", "dataset": "demo"}, preset=preset)
    variants = {
        variant.name: variant.apply(config) for variant in EXPERIMENTS["ablation"].variants(config, (), listing)
    }
    windows = variants["and twice the size, in windows"].discover
    assert (windows.input_size, windows.tile) == (448, 224)
    assert ("colours do not count" in variants) == (config.discover.graph == "neighbours")
    joined = variants["and CLS of crops joined, noise kept"].discover
    assert joined.resolution == (3.0 if config.discover.resolution == "auto" else config.discover.resolution)


def test_sweeps_have_their_values_or_their_own(scenes: Path, listing: Listing) -> None:
    config = base(scenes, Path("unused"))

    def of(name: str, *values: float) -> list[RunConfig]:
        return [variant.apply(config) for variant in EXPERIMENTS[name].variants(config, values, listing)]

    assert [one.clusters for one in of("clusters")] == [6, 9, 12, 18, 24]
    assert [one.clusters for one in of("clusters", 5, 7)] == [5, 7]
    assert [one.discover.resolution for one in of("resolution", 2, 0.5)] == [2, 0.5]
    assert [one.discover.input_size for one in of("patch-size")] == [224, 128, 112]  # patches of 8 pixels
    assert [one.limit for one in of("data-size")] == [3, 6, 12, 24]


def test_what_cannot_be_compared_is_refused(scenes: Path, tmp_path: Path) -> None:
    def refused(name: str, message: str, *values: float, **flags: Any) -> None:
        with pytest.raises(UsageError, match=message):
            run_experiment(name, base(scenes, tmp_path / "out", **flags), 1, values, print)

    refused("ablations", "unknown experiment 'ablations'; there are ablation, clusters,")
    refused("resolution", "resolution: these settings or values do not fit: .*greater than 0", 0.0)
    refused("clusters", "has no ground truth", source=str(scenes / "images"), dataset="folder", clusters=4)
    with pytest.raises(UsageError, match="--values 6;9: give numbers with commas"):
        numbers("--values", "6;9")
    assert numbers("--values", "6, 9.5") == [6.0, 9.5]


@pytest.mark.slow
def test_runs_share_their_segments_and_are_done_once(ray_session: None, scenes: Path, tmp_path: Path) -> None:
    config, told = base(scenes, tmp_path / "out"), list[str]()
    results = run_experiment("clusters", config, 2, (6, 9), told.append)
    assert told[0] == "the resolution that all variants share"
    assert told[1:] == ["K = 6, seed 0", "K = 6, seed 1", "K = 9, seed 0", "K = 9, seed 1"]
    found = storage.read_json(str(tmp_path / "out/resolution/sample/_COMMIT.json"))["facts"]["resolution"]
    assert {result.summary["resolution"] for result in results} == {found}
    assert [(result.variant.value, result.seed) for result in results] == [(6, 0), (6, 1), (9, 0), (9, 1)]
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    begun = [line for line in (folder / "events.jsonl").read_text().splitlines() if '"stage": "discover"' in line]
    assert sum('"event": "end"' in line for line in begun) == 1  # nothing is embedded twice
    assert {result.summary["clusters"] for result in results} == {6, 9}
    assert results[0].summary["metrics"]["initial"] != results[1].summary["metrics"]["initial"]

    again = run_experiment("clusters", config, 2, (6, 9), told.append)
    assert again == results
    assert told[5:] == told[:1]  # found before, and no run made again

    uris = write_answer("clusters", results, config.out)
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
    assert b"clusters K" in storage.read_bytes(uris[2]) or b"<path" in storage.read_bytes(uris[2])


@pytest.mark.slow
def test_the_command_prints_the_table_and_draws_variants(ray_session: None, scenes: Path, tmp_path: Path) -> None:
    line = ["experiment", "patch-size", str(scenes), "--out", str(tmp_path), "--dataset", "demo", "--limit", "8"]
    line += ["--seeds", "1", "--values", "16"] + [part for setting in QUICK[1:] for part in ("--set", setting)]
    done = CliRunner().invoke(app, line, catch_exceptions=False)
    assert done.exit_code == 0
    assert "| 16 of 224 pixels a patch |" in done.output
    assert (tmp_path / "patch-size.svg").read_text().lstrip().startswith("<?xml")
