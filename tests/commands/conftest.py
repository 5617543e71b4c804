"""Fixtures of the tests of commands: commands without Ray, and one whole run on Ray that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig, load
from datus2_ray.store import folders, parquet, storage
from tests.in_process import commands_without_ray

#: Of a small, quick run with refined masks, tokens and a tree, for what is done with finished runs.
TO_NAME = (
    "ingest.images_per_part=4",
    "discover.input_size=112",
    "discover.resolution=3",
    "discover.tau=0",
    "cluster.restarts=1",
    "cluster.fine=20",
    "refine.min_images=2",
    "evaluate.token_kmeans=false",
)

#: Of a small, quick run of all stages.
SETTINGS = (
    "ingest.images_per_part=10",
    "ingest.row_group_rows=10",
    "discover.actors=1",  # each imports torch, which takes longer than the models' work on a few images
    "discover.input_size=64",
    "discover.tau=0",
    "cluster.workers=2",
    "cluster.restarts=3",
    "refine.em=true",  # DeepLabV3 trains in the runs on small machines
    "refine.network=linear",
    "evaluate.token_restarts=1",
)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whole commands run in this process, without Ray, and teach names quickly; Ray Train cannot train there."""
    from datus2_ray.core.names import teach

    commands_without_ray(monkeypatch)
    monkeypatch.setattr(teach, "RECIPE", replace(teach.RECIPE, steps=200))


@pytest.fixture(scope="session")
def run_to_name(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Run all stages once on ten scenes, in this process, and return the folder; tests copy it."""
    with pytest.MonkeyPatch.context() as patch:
        commands_without_ray(patch)
        out = tmp_path_factory.mktemp("named") / "run"
        datus2_ray.run(settings_to_name(scenes, out))
    return str(out)


def settings_to_name(source: Path, out: Path, *more: str, **flags: Any) -> RunConfig:
    """Return the settings of that run, and any more."""
    flags = {"source": str(source), "out": str(out), "dataset": "demo", "limit": 10, "clusters": 8, **flags}
    return load(flags, assignments=TO_NAME + more)


def small_settings(source: Path | str, out: Path | str, *more: str, preset: str = "paper", **flags: Any) -> RunConfig:
    """Return the settings of a small, quick run, and any more."""
    flags = {"source": str(source), "out": str(out), "backbone": "untrained:vit_tiny_patch16_224", **flags}
    return load(flags, preset=preset, assignments=SETTINGS + more)


def few_images(source: Path | str, out: Path | str) -> RunConfig:
    """Return the settings of a run over few images, without refinement."""
    few = ("ingest.images_per_part=4", "cluster.fine=12", "cluster.restarts=1", "evaluate.token_kmeans=false")
    return small_settings(source, out, *few, preset="best", limit=8, no_refine=True, clusters=5)


@pytest.fixture(scope="session")
def small_run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run over few images, made without Ray; to be copied."""
    out = tmp_path_factory.mktemp("small") / "run"
    with pytest.MonkeyPatch.context() as patch:
        commands_without_ray(patch)
        datus2_ray.run(few_images(scenes / "images", out))
    return out


def tables(out: str) -> dict[str, Any]:
    """Read all tables of a run's results, by stage and name."""
    names = [entry.path for entry in folders.list_files(out) if entry.path.endswith(".parquet") and "/" in entry.path]
    places = {f"{name.split('/')[0]}/{name.split('/')[-1]}": name for name in names}
    return {place: parquet.read_table(storage.join(out, name)) for place, name in places.items()}


@dataclass(frozen=True)
class FinishedRun:
    """A run of all stages: its settings, what it returned, and its tables by stage and name."""

    config: RunConfig
    summary: dict[str, Any]
    tables: dict[str, Any]


@pytest.fixture(scope="session")
def finished_run(ray_session: None, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Run all stages once, on Ray, by the public face; tests may run it again, but leave it as it is."""
    config = small_settings(
        scenes, tmp_path_factory.mktemp("finished") / "run", dataset="demo", export={"format": "png"}
    )
    summary = datus2_ray.run(config)
    return FinishedRun(config, summary, tables(config.out))
