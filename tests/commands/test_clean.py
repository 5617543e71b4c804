"""A changed setting and back: earlier results stay, are taken again untouched, and go only when they are asked to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datus2_ray.cli.app import app
from datus2_ray.commands.clean import clean
from datus2_ray.commands.predict import predict
from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig, load
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.explore.prepare import prepare
from datus2_ray.store import parquet, storage
from datus2_ray.store.lease import hold
from datus2_ray.store.run_folder import FINISHED, REPORT, RunFolder
from tests.explore.made import MadeRun

SMALL = (
    "ingest.images_per_part=4",
    "discover.input_size=64",
    "discover.tau=0",
    "discover.descriptor=tokens",
    "cluster.restarts=1",
    "evaluate.token_restarts=1",
)


@pytest.fixture
def settings(here: None, scenes: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    def settings(*more: str) -> RunConfig:
        flags = {"source": str(scenes), "out": str(tmp_path / "run"), "dataset": "demo", "limit": 8, "no_refine": True}
        return load({**flags, "backbone": "untrained:vit_tiny_patch16_224"}, preset="paper", assignments=SMALL + more)

    return settings


def results(out: Path) -> dict[Path, tuple[int, bytes]]:
    """Return when each file of a result was last written, and what it holds."""
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in out.glob("*/*/*") if file.is_file()}


def test_a_changed_setting_and_back_removes_nothing_and_does_nothing_twice(
    settings: Callable[..., RunConfig], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    summary = run(settings())
    first, folder = results(out), RunFolder(str(out))
    current = folder.current()
    other = run(settings("clusters=4"))
    both = results(out)
    # What comes before the clusters is shared, what comes after them lies beside the first.
    assert {file: both[file] for file in first} == first
    changed = {stage for stage, fingerprint in folder.current().items() if fingerprint != current[stage]}
    assert changed == {"cluster", "label", "baseline", "evaluate"}
    assert {file.relative_to(out).parts[0] for file in set(both) - set(first)} == changed
    assert other["clusters"] == len(other["metrics"]["initial"]["matching"]) == 4
    assert other["metrics"]["initial"] != summary["metrics"]["initial"]

    back = run(settings())
    assert results(out) == both
    assert folder.current() == current
    assert back == summary
    assert json.loads((out / "summary.json").read_text()) == back
    assert json.loads((out / "config.json").read_text())["clusters"] is None
    assert (out / "report" / "index.html").exists()


def test_clean_removes_what_is_not_current_and_with_a_dry_run_nothing(
    settings: Callable[..., RunConfig], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(settings("discover.tau=1"))
    run(settings())
    stages = ("discover", "cluster", "label", "token_tree", "baseline", "evaluate")
    folders = [folder for stage in stages for folder in (out / stage).iterdir() if folder.is_dir()]
    stale = {str(folder) for folder in folders if not is_current(out, folder)}
    (current,) = (folder for folder in (out / "label").iterdir() if is_current(out, folder))
    rest = current / "_0123abcd.tmp"
    rest.write_bytes(bytes(1000))
    before = results(out)

    dry = CliRunner().invoke(app, ["clean", str(out), "--dry-run"], catch_exceptions=False)
    assert results(out) == before
    assert rest.exists()
    listed = {line.split()[-1]: line for line in dry.output.splitlines()[:-1]}
    assert set(listed) == {*stale, str(rest)}
    assert dry.output.splitlines()[-1].startswith("7 results and files, ")

    with hold(str(out), "run"), pytest.raises(UsageError, match="is in use: `datus2 run`"):
        clean(str(out))
    assert rest.exists()

    done = CliRunner().invoke(app, ["clean", str(out)], catch_exceptions=False)
    assert done.output.splitlines()[:-1] == dry.output.splitlines()[:-1]
    assert not any(Path(uri).exists() for uri in listed)
    kept = {file: content for file, content in before.items() if str(file.parent) not in stale and file != rest}
    assert results(out) == kept
    assert clean(str(out)) == []
    # What is current is still a finished run.
    run(settings())
    assert results(out) == kept


def is_current(out: Path, folder: Path) -> bool:
    return RunFolder(str(out)).current()[folder.parent.name].startswith(folder.name)


def test_clean_keeps_what_the_next_run_goes_on_with(settings: Callable[..., RunConfig], tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(settings())
    folder = RunFolder(str(out))
    folder.begin("discover", "b" * 32, {})
    folder.set_current({"ingest": folder.current()["ingest"]}, begun=("discover", "b" * 32))
    removed = {Path(item.uri) for item in clean(str(out))}
    assert (out / "discover" / ("b" * 12)).exists()
    assert (out / "ingest").exists()
    assert {path.parent.name for path in removed} == {
        "survey", "discover", "cluster", "label", "token_tree", "baseline", "evaluate",
    }  # fmt: skip


def test_an_interrupted_change_leaves_no_finished_run(
    settings: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    summary = run(settings())
    write_table = parquet.write_table

    def interrupted(uri: str, *arguments: Any) -> None:
        if "/discover/" in uri:
            raise KeyboardInterrupt
        write_table(uri, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(settings("discover.tau=1"))
    assert not any((out / name).exists() for name in (*FINISHED, REPORT))
    with pytest.raises(StorageError, match="is no finished run"):
        predict(str(out), str(tmp_path), str(tmp_path / "masks"))
    assert run(settings()) == summary
    assert all((out / name).exists() for name in (*FINISHED, REPORT))


def test_an_experiment_is_not_cleaned_of_its_variants(tmp_path: Path) -> None:
    RunFolder(str(tmp_path / "runs")).claim(str(tmp_path / "in"), "experiment")
    with pytest.raises(UsageError, match="holds the variants of an experiment"):
        clean(str(tmp_path / "runs"), dry_run=True)


def test_tables_of_the_explorer_go_with_the_masks_that_they_are_of(tmp_path: Path) -> None:
    run = MadeRun(tmp_path / "run", images=2).write()
    current = prepare(run)
    storage.write_json(run.path("explore", "0" * 12, "about.json"), {})
    assert [item.uri for item in clean(run.uri)] == [run.path("explore", "0" * 12)]
    assert storage.exists(storage.join(current, "about.json"))
