"""What a finished run says of itself, read once for all sections of the report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.events import EventLog
from datus2_ray.store.facts import (
    Clustered,
    Discovered,
    HeadLearned,
    Ingested,
    Labelled,
    LayerFitted,
    Predicted,
    Refined,
    Surveyed,
)
from datus2_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Weights:
    """A network that the run used; `assumed`: ImageNet's mean and deviation were taken, for want of its own."""

    name: str
    trained: bool
    supervised: bool
    assumed: bool = False


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: its settings, the results of its stages, and its summary.

    ``config.dataset`` is what shards say of themselves. ``fitted`` and ``refined`` are None where the run does without
    that stage. ``predicted`` is None in a run without refinement, and ``skipped`` says why. ``metrics`` are those of
    ``metrics.json``, None without ground truth.
    """

    folder: RunFolder
    config: RunConfig
    ingested: Commit[Ingested]
    discovered: Commit[Discovered]
    clustered: Commit[Clustered]
    labelled: Commit[Labelled]
    surveyed: Commit[Surveyed] | None
    learned: Commit[HeadLearned] | None
    fitted: Commit[LayerFitted] | None
    refined: Commit[Refined] | None
    predicted: Commit[Predicted] | None
    skipped: str
    images: int
    quarantined: int
    k: int
    backbone: Weights
    cnn: Weights | None
    metrics: dict[str, Any] | None
    seconds: dict[str, float]
    versions: dict[str, str]
    machine: dict[str, Any]
    finished: datetime | None


def read_run(folder: RunFolder) -> FinishedRun:
    """Read a finished run.

    Raises
    ------
    StorageError
        If something of the run is missing or cannot be read.
    UsageError
        If its settings are those of another version of the program.
    """
    settings, summary = (storage.read_json(folder.path(name)) for name in ("config.json", "summary.json"))
    ingested = folder.require(Ingested)
    try:
        config = RunConfig.model_validate({**settings, "dataset": ingested.facts.dataset})
    except ValidationError as error:
        raise UsageError(
            f"{folder.uri}/config.json has settings of another version of the program; use that version, or run again"
        ) from error
    events = EventLog(folder.path("events.jsonl")).read()
    return FinishedRun(
        folder=folder,
        config=config,
        ingested=ingested,
        discovered=folder.require(Discovered),
        clustered=folder.require(Clustered),
        labelled=folder.require(Labelled),
        surveyed=folder.find(Surveyed),
        learned=folder.find(HeadLearned),
        fitted=folder.find(LayerFitted),
        refined=folder.find(Refined),
        predicted=folder.find(Predicted),
        skipped=summary["refinement"].get("skipped", ""),
        images=summary["images"],
        quarantined=summary["quarantined"],
        k=summary["clusters"],
        backbone=Weights(**summary["backbone"]),
        cnn=Weights(**summary["cnn"]) if summary["cnn"] else None,
        metrics=summary["metrics"],
        seconds=summary["seconds"],
        versions=summary["versions"],
        machine=summary["machine"],
        finished=datetime.fromtimestamp(events[-1]["time"], UTC) if events else None,
    )
