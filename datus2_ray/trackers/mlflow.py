"""MLflow: a run of its tracking store, a local folder of files or a server.

What the store has already is asked of the store itself, point by point: whatever was killed, and whenever, nothing is
sent twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from datus2_ray.trackers.tracker import Result, flatten

#: The store where ``MLFLOW_TRACKING_URI`` names none, in the working directory.
STORE = "mlruns"

#: The experiment where ``MLFLOW_EXPERIMENT_NAME`` names none.
EXPERIMENT = "datus2"

#: Tags: the run folder and settings of a run, and the fingerprints of its results.
RUN_TAG, STAGE_TAG = "datus2.run", "datus2.stage."

#: Most metrics, and most parameters or tags, of one request, and most characters of a parameter.
MAX_METRICS, MAX_PARAMS, MAX_CHARACTERS = 1000, 100, 6000

#: Of MLflow's own settings, where they are not set: it refuses stores of files unless they are allowed, asks a server
#: that is down for many minutes, and reports its use.
ENVIRONMENT = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

T = TypeVar("T")


class MlflowTracker:
    """One run of MLflow's store: the one that was begun for the same folder, settings and results, or a new one."""

    def __init__(self, key: str, name: str, settings: Mapping[str, Any]) -> None:
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient

        self._key, self._name, self._settings = key, name, settings
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or str(Path(STORE).absolute()))
        self._results: dict[str, Result] = {}
        self._id: str | None = None

    def log(self, result: Result) -> None:
        """Send the curves of a stage; a run that has another result of that stage is another run."""
        self._results[result.stage] = result
        run = self._client.get_run(self._id) if self._id else None
        if run is not None and self._fits(run):
            self._send(run, result)
            return
        run = self._find() or self._create()
        self._id = run.info.run_id
        self._send_settings(run)
        for earlier in self._results.values():
            self._send(run, earlier)

    def finish(self, numbers: Mapping[str, float], report: bytes | None) -> None:
        """Send what is new or has changed since it was sent, and end the run."""
        from mlflow.entities import Metric

        if self._id is None:
            return
        run = self._client.get_run(self._id)
        now = int(1000 * time.time())
        new = [Metric(name, value, now, 0) for name, value in numbers.items() if run.data.metrics.get(name) != value]
        for metrics in _batches(new, MAX_METRICS):
            self._client.log_batch(self._id, metrics=metrics)
        if report is not None and (new or not self._client.list_artifacts(self._id)):
            self._client.log_text(self._id, report.decode(), "report/index.html")
        if run.info.status != "FINISHED":
            self._client.set_terminated(self._id)

    def _find(self) -> Any:
        """Return the run of the same folder and settings that holds no other results; None where there is none."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return None
        found = self._client.search_runs([experiment.experiment_id], f"tags.`{RUN_TAG}` = '{self._key}'")
        return next((run for run in found if self._fits(run)), None)

    def _create(self) -> Any:
        experiment = self._client.get_experiment_by_name(self._experiment)
        where = experiment.experiment_id if experiment else self._client.create_experiment(self._experiment)
        return self._client.create_run(where, tags={RUN_TAG: self._key}, run_name=self._name)

    def _fits(self, run: Any) -> bool:
        kept = {name.removeprefix(STAGE_TAG): tag for name, tag in run.data.tags.items() if name.startswith(STAGE_TAG)}
        return all(kept.get(stage, result.fingerprint) == result.fingerprint for stage, result in self._results.items())

    def _send_settings(self, run: Any) -> None:
        from mlflow.entities import Param

        flat = flatten(self._settings, ".")
        params = [Param(name, str(flat[name])[:MAX_CHARACTERS]) for name in flat if name not in run.data.params]
        for some in _batches(params, MAX_PARAMS):
            self._client.log_batch(run.info.run_id, params=some)

    def _send(self, run: Any, result: Result) -> None:
        from mlflow.entities import Metric

        where, tag, now = run.info.run_id, f"{STAGE_TAG}{result.stage}", int(1000 * time.time())
        # The tag first: the points that follow belong to this result whatever happens in between.
        if tag not in run.data.tags:
            self._client.set_tag(where, tag, result.fingerprint)
        for name, curve in result.curves.items():
            there = {metric.step for metric in self._client.get_metric_history(where, name)}
            points = [Metric(name, value, now, step) for step, value in curve if step not in there]
            for metrics in _batches(points, MAX_METRICS):
                self._client.log_batch(where, metrics=metrics)

    @property
    def _experiment(self) -> str:
        return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
