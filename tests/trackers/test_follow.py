"""A run is followed, resumed, and goes on where its tracker fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.store import parquet
from datus2_ray.store.run_folder import RunFolder
from datus2_ray.trackers import follow
from tests.commands.conftest import settings_to_name
from tests.in_process import commands_without_ray


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def config(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Return the settings of a small run that is followed."""
    commands_without_ray(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return settings_to_name(
        scenes, tmp_path / "run", "refine.em=true", "refine.network=linear", limit=6, tracker="mlflow"
    )


def test_a_package_that_is_missing_is_named_before_the_run_starts(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--tracker mlflow needs .* pip install 'datus2-ray\[mlflow\]'"):
        run(config)
    assert not Path(config.out).exists()


def test_a_run_killed_in_a_stage_goes_on_in_the_same_run_of_the_tracker(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "store"))
    with monkeypatch.context() as patch:
        patch.setattr(
            "datus2_ray.stages.em.fit.fit_segments", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            run(config)
    client = MlflowClient(str(tmp_path / "store"))
    where = client.get_experiment_by_name("datus2").experiment_id
    (begun,) = client.search_runs([where])
    assert begun.info.status == "RUNNING"
    assert client.get_metric_history(begun.info.run_id, "cluster/inertia")

    summary = run(config)
    written = {file: file.stat().st_mtime_ns for file in Path(tmp_path, "store").rglob("*") if file.is_file()}
    assert run(config) == summary
    assert {file: file.stat().st_mtime_ns for file in Path(tmp_path, "store").rglob("*") if file.is_file()} == written

    (kept,) = client.search_runs([where])
    assert (kept.info.run_id, kept.info.status) == (begun.info.run_id, "FINISHED")
    assert kept.data.params["discover.tau"] == "0"
    assert "tracker" not in kept.data.params
    assert kept.data.metrics["segments"] == summary["segments"]
    score = summary["metrics"]["refined"]["one_to_one"]["miou"]
    assert kept.data.metrics["scores/refined/one_to_one/miou"] == score
    folder = RunFolder(config.out)
    for stage, name in (("cluster", "inertia"), ("em", "loss")):
        (file,) = Path(folder.path(stage)).glob("*/history.parquet")
        table = parquet.read_table(str(file))
        points = sorted((x.step, x.value) for x in client.get_metric_history(kept.info.run_id, f"{stage}/{name}"))
        assert points == list(zip(table[0].to_pylist(), table[name].to_pylist(), strict=True)), stage
    page = client.download_artifacts(kept.info.run_id, "report/index.html")
    assert Path(page).read_bytes() == Path(folder.path("report/index.html")).read_bytes()


def test_a_tracker_that_fails_is_one_line_and_the_run_goes_on(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    summary = run(config)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tracker")]
    assert len(lines) == 1
    assert "127.0.0.1" in lines[0]
    # A tracker decides nothing: without it, all results are there.
    assert run(config.model_copy(update={"tracker": None})) == summary
