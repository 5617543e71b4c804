"""Weights & Biases, offline: a folder that ``wandb sync`` sends, written once, when the run is finished.

An offline run cannot be continued, so that none is begun before all of it is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datus2_ray.trackers.tracker import Result

#: The project where ``WANDB_PROJECT`` names none.
PROJECT = "datus2"

#: What is switched off: messages, and what a run would be given beside ours: code, packages and load of the machine.
QUIET = {
    "silent": True,
    "console": "off",
    "save_code": False,
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_save_requirements": False,
}


class WandbTracker:
    """One offline run, in the folder ``wandb`` of ``WANDB_DIR`` or else of the working directory."""

    def __init__(self, key: str, name: str, settings: Mapping[str, Any]) -> None:
        self._key, self._name, self._settings = key, name, settings
        self._results: dict[str, Result] = {}

    def log(self, result: Result) -> None:
        """Keep the result of a stage until the run is finished."""
        self._results[result.stage] = result

    def finish(self, numbers: Mapping[str, float], report: bytes | None) -> None:
        """Write the run, unless there is one of the same folder, settings and results."""
        stamps = {stage: result.fingerprint for stage, result in self._results.items()}
        identity = hashlib.sha256(json.dumps([self._key, stamps], sort_keys=True).encode()).hexdigest()[:16]
        folder = Path(os.environ.get("WANDB_DIR") or ".").absolute() / "wandb"
        if any(folder.glob(f"*run-*-{identity}")):
            return
        # Beside its place until it is whole: an interrupted attempt must not count as the run.
        unfinished = folder / f".datus2-{identity}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        self._write(unfinished, identity, numbers, report)
        (written,) = unfinished.glob(f"wandb/offline-run-*-{identity}")
        written.rename(folder / written.name)
        shutil.rmtree(unfinished)

    def _write(self, folder: Path, identity: str, numbers: Mapping[str, float], report: bytes | None) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        begun = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=identity,
            name=self._name,
            mode="offline",
            dir=folder,
            config=dict(self._settings),
            settings=wandb.Settings(**QUIET),
        )
        try:
            # Ended in any case: the next run of this process would be written beside it.
            with begun as run:
                for result in self._results.values():
                    self._log_curves(run, result)
                if report is not None:
                    run.log({"report": wandb.Html(report.decode(), inject=False)})
                run.summary.update(dict(numbers))
        finally:
            wandb.teardown()

    @staticmethod
    def _log_curves(run: Any, result: Result) -> None:
        """Log the curves of a stage over its own steps, a row per step."""
        rows: dict[int, dict[str, float]] = {}
        for name, curve in result.curves.items():
            for step, value in curve:
                rows.setdefault(step, {})[name] = value
        if rows:
            counter = f"{result.stage}/{result.counter}"
            run.define_metric(counter)
            run.define_metric(f"{result.stage}/*", step_metric=counter)
        for step, values in sorted(rows.items()):
            run.log({counter: step, **values})
