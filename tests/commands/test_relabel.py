"""Another number of clusters of a finished run: read off its tree, beside the masks before, without its source."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

import datus2_ray
from datus2_ray.cli.app import app
from datus2_ray.commands.relabel import relabel
from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig, load
from datus2_ray.errors import DatusError, StorageError, UsageError
from datus2_ray.store import parquet, storage
from datus2_ray.store.facts import Clustered, Labelled, Sampled
from datus2_ray.store.run_folder import PASSED_OVER, RELABELLED, REPORT, RunFolder

SMALL = (
    "ingest.images_per_part=4",
    "discover.input_size=64",
    "discover.tau=0",
    "cluster.restarts=1",
    "cluster.fine=12",
    "evaluate.token_restarts=1",
)


def settings(source: Path, out: Path, *more: str, **flags: Any) -> RunConfig:
    flags = {"source": str(source), "out": str(out), "limit": 8, "no_refine": True, **flags}
    return load({**flags, "backbone": "untrained:vit_tiny_patch16_224"}, assignments=SMALL + more)


def results(out: Path) -> dict[str, tuple[int, bytes]]:
    """Return when each file of a result was last written, and what it holds."""
    files = [file for file in out.glob("*/*/**/*") if file.is_file()]
    return {str(file.relative_to(out)): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def masks(out: Path) -> pa.Table:
    commit = RunFolder(str(out)).require(Labelled)
    return pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)])


def test_masks_of_another_k_are_those_of_a_run_and_lie_beside_the_first(
    here: None, scenes: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "scenes", tmp_path / "run"
    source.symlink_to(scenes)
    config = settings(source, out, "discover.resolution=3", dataset="demo", export={"format": "png"})
    summary = run(config)
    first, folder = results(out), RunFolder(str(out))
    current = folder.current()
    source.rename(tmp_path / "moved")

    other = relabel(str(out), 4)
    both = results(out)
    assert {file: both[file] for file in first} == first
    changed = {stage for stage, fingerprint in folder.current().items() if fingerprint != current[stage]}
    assert changed == {"label", "evaluate", "export"}
    # The baselines of the other K are not computed for this one.
    assert set(current) - set(folder.current()) == {"baseline"}
    assert set(other["metrics"]) & {"token_kmeans", "token_kmeans_merged"} == set()
    assert {file.partition("/")[0] for file in set(both) - set(first)} == changed
    assert (summary["clusters"], other["clusters"], other["metrics"]["clusters"]) == (6, 4, 4)
    assert {name: other[name] for name in ("images", "segments", "backbone")} == {
        name: summary[name] for name in ("images", "segments", "backbone")
    }
    assert storage.read_json(str(out / "metrics.json")) == other["metrics"]
    assert "K = 4" in (out / REPORT).read_text()
    pictures = sorted(Path(folder.path("export")).glob(f"{folder.current()['export'][:12]}/png/masks/*.png"))
    assert len(pictures) == 8
    assert max(int(np.asarray(Image.open(picture)).max()) for picture in pictures) == 3

    # Those of a run of its own with this K.
    (tmp_path / "moved").rename(source)
    alone = tmp_path / "alone"
    expected = run(settings(source, alone, "discover.resolution=3", dataset="demo", clusters=4))
    assert masks(alone).equals(masks(out))
    assert expected["metrics"]["initial"] == other["metrics"]["initial"]
    source.rename(tmp_path / "moved")

    # Back, and by the first command: nothing is computed.
    done = CliRunner().invoke(app, ["relabel", str(out), "--clusters", "6"], catch_exceptions=False)
    assert "6 clusters" in done.output
    assert results(out) == both
    assert folder.current() == current
    (tmp_path / "moved").rename(source)
    assert run(config) == summary
    assert results(out) == both


def test_a_k_that_was_found_on_the_sample_gives_way(here: None, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = run(settings(scenes / "images", out))
    folder = RunFolder(str(out))
    sampled = folder.require(Sampled)
    assert summary["clusters"] == sampled.facts.k
    less = sampled.facts.k - 1
    fine = masks(out)
    assert relabel(str(out), less)["clusters"] == less
    coarse = masks(out)
    assert folder.require(Sampled) == sampled
    few, many = (np.concatenate(table["segment_clusters"].to_pylist()) for table in (coarse, fine))
    assert (len(np.unique(few)), len(np.unique(many))) == (less, less + 1)
    # Fine clusters stay whole.
    of_fine = np.concatenate(coarse["segment_fine"].to_pylist())
    assert all(len(np.unique(few[of_fine == number])) == 1 for number in np.unique(of_fine))
    # New images get as many clusters.
    datus2_ray.predict(str(out), str(scenes / "images"), str(tmp_path / "masks"), limit=8)
    assert masks(tmp_path / "masks").equals(coarse)


def test_what_has_no_such_level_is_refused_in_one_line(here: None, scenes: Path, tmp_path: Path) -> None:
    def refused(error: type[DatusError], message: str, out: Path, clusters: int) -> None:
        with pytest.raises(error, match=message) as caught:
            relabel(str(out), clusters)
        assert len(str(caught.value).splitlines()) == 1

    tree, none = tmp_path / "tree", tmp_path / "none"
    run(settings(scenes / "images", tree, "discover.resolution=3", clusters=3))
    fine = RunFolder(str(tree)).require(Clustered).facts.centroids
    before = results(tree)
    for k in (1, fine + 1):
        refused(UsageError, f"--clusters {k}: .* has {fine} fine clusters; give a number from 2 to that", tree, k)
    assert results(tree) == before
    assert relabel(str(tree), fine)["clusters"] == fine
    run(settings(scenes / "images", none, "discover.resolution=3", "cluster.fine=null", clusters=3))
    refused(UsageError, "has no tree of clusters: with cluster.fine = null, k-means found its clusters", none, 4)
    (none / "summary.json").unlink()
    refused(StorageError, "is no finished run, it has no summary.json", none, 4)
    refused(StorageError, "is no finished run", tmp_path / "nothing", 4)


@pytest.mark.parametrize("interrupted", ["start_ray", "write_metrics"])
def test_interrupted_it_goes_on_without_the_source(
    here: None, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    source, out = tmp_path / "scenes", tmp_path / "run"
    source.symlink_to(scenes)
    config = settings(source / "images", out, clusters=3)
    first = run(config)
    current = RunFolder(str(out)).current()
    source.rename(tmp_path / "moved")

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"datus2_ray.commands.run.{interrupted}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            relabel(str(out), 2)
    # Before any stage, or when all masks are there and nothing says so.
    assert (RunFolder(str(out)).current() == current) == (interrupted == "start_ray")
    with pytest.raises(StorageError, match=r"run the same `datus2 relabel .*/run --clusters K` again"):
        datus2_ray.load(str(out))
    assert relabel(str(out), 2)["clusters"] == 2
    assert not (out / RELABELLED).exists()
    back = relabel(str(out), 3)
    assert {name: back[name] for name in ("clusters", "backbone", "segments")} == {
        name: first[name] for name in ("clusters", "backbone", "segments")
    }

    # The first command takes over what another relabelling left.
    with monkeypatch.context() as patch:
        patch.setattr(f"datus2_ray.commands.run.{interrupted}", interrupt)
        with pytest.raises(KeyboardInterrupt):
            relabel(str(out), 2)
    (tmp_path / "moved").rename(source)
    assert run(config)["clusters"] == 3
    assert not (out / RELABELLED).exists()


def test_what_was_passed_over_stays_listed(here: None, scenes: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "scenes", tmp_path / "run"
    shutil.copytree(scenes / "images", source)
    (source / "movie.mp4").write_bytes(bytes(100))
    assert run(settings(source, out, clusters=3))["passed_over"] == 1
    listed = (out / PASSED_OVER).read_bytes()
    assert relabel(str(out), 2)["passed_over"] == 1
    assert (out / PASSED_OVER).read_bytes() == listed
