"""MLflow, read back by its own client from a store of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datus2_ray.trackers.mlflow import ENVIRONMENT, MlflowTracker
from datus2_ray.trackers.tracker import Result

pytest.importorskip("mlflow", reason="needs the extra mlflow")

SETTINGS = {"seed": 3, "discover": {"tau": 5, "resolution": 1.5}, "long": "x" * 9000}

EM = Result("em", "f1", curves={"em/loss": [(1, 0.5), (2, 0.25), (4, 0.125)], "em/agreement": [(4, 0.9)]})


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder without a store."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", *ENVIRONMENT):
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


def runs() -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(str(Path("mlruns").absolute()))
    experiment = client.get_experiment_by_name("datus2")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def curve(run: Any, name: str) -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    history = MlflowClient(str(Path("mlruns").absolute())).get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in history)


def send(key: str = "k", *results: Result) -> None:
    tracker = MlflowTracker(key, "night", SETTINGS)
    for result in (Result("ingest", "f0"), *(results or (EM,))):
        tracker.log(result)
    tracker.finish({"segments": 12.0, "scores/refined/nmi": 0.5}, b"<html>")


def test_the_client_reads_back_the_run_its_parameters_curves_and_artefact() -> None:
    from mlflow import MlflowClient

    send()
    (run,) = runs()
    assert (run.info.run_name, run.info.status) == ("night", "FINISHED")
    assert run.data.params["discover.tau"] == "5"
    assert run.data.params["discover.resolution"] == "1.5"
    assert curve(run, "em/loss") == EM.curves["em/loss"]
    assert curve(run, "em/agreement") == [(4, 0.9)]
    assert (run.data.metrics["segments"], run.data.metrics["scores/refined/nmi"]) == (12, 0.5)
    page = MlflowClient(str(Path("mlruns").absolute())).download_artifacts(run.info.run_id, "report/index.html")
    assert Path(page).read_bytes() == b"<html>"


def test_the_same_again_sends_nothing_and_other_settings_are_another_run() -> None:
    send()
    before = {file: file.stat().st_mtime_ns for file in Path("mlruns").rglob("*")}
    send()
    assert {file: file.stat().st_mtime_ns for file in Path("mlruns").rglob("*")} == before
    send("another")
    assert len(runs()) == 2


def test_interrupted_at_any_request_it_goes_on_and_sends_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    requests = ("create_experiment", "create_run", "log_batch", "set_tag", "log_text", "set_terminated")
    left = 0

    def counted(name: str) -> Any:
        original = getattr(MlflowClient, name)

        def call(self: Any, *args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return original(self, *args, **more)

        return call

    for name in requests:
        monkeypatch.setattr(MlflowClient, name, counted(name))
    monkeypatch.setattr("datus2_ray.trackers.mlflow.MAX_METRICS", 2)
    for last in range(1, 100):
        left = last
        try:
            send(f"run {last}")
        except KeyboardInterrupt:
            left = 0
            send(f"run {last}")
        else:
            break
    assert last > 8
    found = runs()
    assert len(found) == last
    for run in found:
        assert run.data.params["discover.tau"] == "5", run.data.tags
        assert curve(run, "em/loss") == EM.curves["em/loss"]
        assert curve(run, "segments") == [(0, 12)]
        assert run.info.status == "FINISHED"


def test_another_result_of_a_stage_is_another_run_and_the_first_one_is_found_again() -> None:
    other = Result("em", "f2", curves={"em/loss": [(1, 0.75)]})
    send("k")
    send("k", other)
    send("k")
    assert sorted(curve(run, "em/loss") for run in runs()) == [EM.curves["em/loss"], [(1, 0.75)]]
