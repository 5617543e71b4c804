"""What ``summary.json`` says of a run, and the table of the images that it could not use."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from datus2_ray.engine.run import Run
from datus2_ray.errors import UsageError
from datus2_ray.store import parquet, schemas, storage
from datus2_ray.store.facts import (
    Clustered,
    Discovered,
    Evaluated,
    Ingested,
    LayerFitted,
    NamesScored,
    Predicted,
    Refined,
    Surveyed,
)
from datus2_ray.store.names import read_names
from datus2_ray.store.names_results import is_outdated
from datus2_ray.store.run_folder import ALL_QUARANTINED, QUARANTINE, RunFolder
from datus2_ray.version import VERSION


def summarise(run: Run, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``summary.json`` holds, given the stages that the run did without."""
    seconds = {stage: run.events.stage_seconds(commit.fingerprint) for stage, commit in run.commits.items()}
    per_row = {stage: run.events.seconds_per_row(commit.fingerprint) for stage, commit in run.commits.items()}
    memory = {stage: run.events.memory(commit.fingerprint) for stage, commit in run.commits.items()}
    return {
        "images": run.commit(Ingested).rows_out,
        "quarantined": sum(commit.rows_quarantined for commit in run.commits.values()),
        "passed_over": len(run.listing.passed_over),
        "notes": run.facts(Ingested).notes,
        "unstructured": run.facts(Discovered).unstructured,
        "ground_truth": _ground_truth(run),
        "segments_found": run.facts(Discovered).found,
        "segments": run.facts(Clustered).segments,
        "clusters": run.required_k,
        "refinement": _refinement(run, left_out),
        "seconds": {stage: round(value, 2) for stage, value in _without_nulls(seconds).items()},
        "seconds_per_row": {stage: round(value, 6) for stage, value in _without_nulls(per_row).items()},
        "memory": _without_nulls(memory),
        "versions": {"datus2-ray": VERSION, **{name: version(name) for name in ("ray", "torch", "timm", "numpy")}},
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "names": names_shown(run.folder),
        "metrics": collect_metrics(run.folder),
    }


def _ground_truth(run: Run) -> dict[str, Any] | None:
    surveyed = run.find(Surveyed)
    if surveyed is None or not (surveyed.facts.labelled or surveyed.facts.unusable):
        return None
    found = surveyed.facts
    classes = list(found.classes)
    kept = {"images": found.labelled, "scored": found.scored, "classes": classes, "unusable": found.unusable}
    return {**kept, "lines": found.describe()}


def collect_metrics(folder: RunFolder) -> dict[str, Any] | None:
    """Return what ``metrics.json`` holds: scores of masks, and of names as they are now; None without any."""
    evaluated, scored = folder.find(Evaluated), folder.find(NamesScored)
    if evaluated is None:
        return None
    shown = scored is not None and not is_outdated(folder, NamesScored)
    return {**evaluated.facts.metrics, **({"names": scored.facts.metrics} if scored and shown else {})}


def names_shown(folder: RunFolder) -> str | None:
    """Return the hash of the names that the report shows if it is written now; None without any."""
    try:
        names = read_names(folder)
    except UsageError:  # damaged by hand
        return None
    return None if names.is_empty else names.fingerprint()


def write_metrics(folder: RunFolder) -> None:
    """Write ``metrics.json``, or remove it where there are no scores."""
    metrics = collect_metrics(folder)
    if metrics is None:
        storage.remove_file(folder.path("metrics.json"))
    else:
        storage.write_json(folder.path("metrics.json"), metrics)


def _refinement(run: Run, left_out: Mapping[str, str]) -> dict[str, Any]:
    if Predicted.stage in left_out:
        return {"skipped": left_out[Predicted.stage]}
    fitted, refined = run.find(LayerFitted), run.find(Refined)
    em = {"em": {**asdict(fitted.facts), "agreements": list(fitted.facts.agreements)}} if fitted else {}
    return {"network": run.config.refine.network, **em, **(asdict(refined.facts) if refined else {})}


def write_quarantine(run: Run) -> None:
    """Write the images that any stage of the run could not use into one table of the run folder."""
    tables = [parquet.read_table(commit.path(QUARANTINE)) for commit in run.commits.values() if commit.rows_quarantined]
    if tables:
        merged = pa.concat_tables([schemas.QUARANTINE.empty_table(), *tables])
        parquet.write_table(run.folder.path(ALL_QUARANTINED), merged)
    else:
        storage.remove_file(run.folder.path(ALL_QUARANTINED))


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
