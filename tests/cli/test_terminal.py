from __future__ import annotations

import io
import statistics

import numpy as np
import pytest
from rich.console import Console

from datus2_ray.cli.terminal import print_findings, print_plan, print_summary, score_table, seeds_table
from datus2_ray.commands.doctor import Finding
from datus2_ray.commands.plan import Plan
from datus2_ray.core.score.confusion import score
from datus2_ray.core.score.seeds import over_seeds
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.engine.stage import Use
from datus2_ray.sources.listing import Listing

PERFECT, HALF = np.diag([10, 10, 10]), np.full((3, 3), 5)


def metrics(**matrices: np.ndarray) -> dict[str, object]:
    scores = {name: score(np.pad(matrix, ((0, 0), (0, 1))).astype(np.int64)) for name, matrix in matrices.items()}
    return {"classes": ["a", "b", "c"], "clusters": 3, "seed": 0, "images": 4, **scores}


def test_every_set_of_masks_has_a_row_that_fits_a_narrow_terminal() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(score_table(metrics(initial=PERFECT, token_kmeans=HALF, token_kmeans_merged=PERFECT)))
    lines = console.export_text().splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert rows["initial"][1:] == ["100.0"] * 8
    assert {"token k-means", "token k-means merged"} <= {line[:22].strip() for line in lines}
    assert "refined" not in rows
    assert all("…" not in line for line in lines)


def test_several_runs_are_shown_as_mean_and_deviation() -> None:
    runs = [metrics(initial=PERFECT), metrics(initial=HALF), metrics(initial=PERFECT)]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(seeds_table(over_seeds(runs)))
    text = console.export_text()
    accuracies = [run["initial"]["one_to_one"]["pixel_accuracy"] for run in runs]  # type: ignore[index]
    assert f"{100 * statistics.fmean(accuracies):.1f}" in text
    assert f"±{100 * statistics.stdev(accuracies):.1f}" in text
    assert "over 3 runs, seeds 0, 0, 0" in text


@pytest.mark.parametrize("trained", [True, False])
def test_an_untrained_backbone_and_a_skipped_refinement_are_said_aloud(
    trained: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = {
        "images": 4, "quarantined": 2, "segments": 9, "clusters": 3, "metrics": None,
        "backbone": {"name": "vit", "trained": trained, "supervised": trained, "assumed": trained}, "cnn": None,
        "notes": {"the first of several frames taken": 2}, "passed_over": 3,
        "refinement": {"skipped": "too few images"},
    }  # fmt: skip
    print_summary(summary, "run")
    text = capsys.readouterr().out
    assert "4 images, 2 in quarantine, 9 segments, 3 clusters" in text
    assert ("UNTRAINED" in text) is not trained
    assert ("WITH LABELS" in text) is trained
    assert (
        "vit does not say with which mean and deviation of pixels it was trained: ImageNet's were" in text
    ) is trained
    assert "refinement skipped: too few images" in text
    assert "2 images: the first of several frames taken" in text
    assert "files passed over: 3, see run/passed_over.parquet" in text
    assert "run/report/index.html" in text


def test_a_plan_shows_sizes_that_grow_shares_of_gpus_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    uses = (
        ("ingest", Use("tasks", 2, 2, parts=1234, memory=4_816_896)),
        ("discover", Use("embed", 1, 3, "cuda", 0.25, 1234, 3 * 2**31)),
    )
    machines = Machines((Node(2, 1, 16 * 10**9), Node(4, 0, 8 * 10**9)), joined=True)
    listing = Listing({}, {"part": 19_744}, {"part": 10**9}, "f", "folder", False, None)
    print_plan(Plan(listing, machines, "cuda", uses, ("no scores: the source has no masks",)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["discover", "embed", "1..3", "cuda", "0.25", "1,234", "6.4", "GB"] in lines
    assert ["ingest", "tasks", "2", "cpu", "1,234", "4.8", "MB"] in lines
    assert [
        "the",
        "cluster",
        "has",
        "6",
        "CPUs,",
        "1",
        "GPUs",
        "and",
        "24.0",
        "GB",
        "of",
        "memory",
        "in",
        "2",
        "nodes",
    ] in lines
    assert ["no", "scores:", "the", "source", "has", "no", "masks"] in lines


def test_findings_are_a_line_each_and_what_they_say_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings([("packages", Finding("ok", "fine")), ("store", Finding("failure", "no [bucket] " + "x" * 200))])
    first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["ok", "packages", "fine"]
    assert second.split() == ["FAILURE", "store", "no", "[bucket]", "x" * 200]
