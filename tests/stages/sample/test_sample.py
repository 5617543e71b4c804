"""K found without labels: the views are what discover finds, and the choice is the same for everyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

import datus2_ray
from datus2_ray.config.load import load
from datus2_ray.engine.execute import execute
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.sample.mirrored import read_views
from datus2_ray.stages.sample.sample import COUNTS, SAMPLE
from datus2_ray.store import parquet
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Discovered, Labelled, Sampled
from datus2_ray.store.run_folder import RunFolder
from tests.in_process import commands_without_ray, without_ray

Open = Callable[..., Run]

SETTINGS = (
    "discover.graph=neighbours",
    "discover.feature=token",
    "discover.descriptor=tokens",
    "ingest.images_per_part=4",
)


def read(commit: Commit[Any]) -> pa.Table:
    return pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)]).combine_chunks()


def choose(run: Run) -> Commit[Sampled]:
    return execute(run, (INGEST, SAMPLE))[0].commit(Sampled)


@pytest.mark.parametrize("unit", ["segments", "patches"])
def test_views_are_what_discover_finds_in_the_images_and_in_mirrored_files(
    scenes: Path, tmp_path: Path, open_here: Open, unit: str
) -> None:
    turned = tmp_path / "turned"
    turned.mkdir()
    for file in sorted((scenes / "images").iterdir())[:8]:
        ImageOps.mirror(Image.open(file)).save(turned / f"{file.stem}.png")
    settings = (*SETTINGS, f"discover.unit={unit}")
    views = read_views(read(choose(open_here(scenes / "images", *settings, limit=8))))
    for name, source, side in (("plain", scenes / "images", 0), ("mirrored", turned, 1)):
        run = open_here(source, *settings, limit=8, clusters=3, name=name)
        run, left_out = execute(run, (INGEST, SAMPLE, DISCOVER))
        assert left_out == {"sample": "the number of clusters is given"}
        found = read(run.commit(Discovered))
        view = views[side]
        maps = [np.asarray(one).reshape(14, 14) for one in list_arrays(found["patch_map"])]
        for mine, theirs in zip(view.maps, maps, strict=True):
            np.testing.assert_array_equal(mine, theirs[:, ::-1] if side else theirs)
        for one, two in zip(view.descriptors, list_arrays(found["descriptors"]), strict=True):
            np.testing.assert_array_equal(one, two)


def test_on_ray_another_seed_and_more_actors_choose_the_same_from_the_same_numbers(
    scenes: Path, open_run: Open
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        here = choose(open_run(scenes / "images", *SETTINGS, limit=8, name="here"))
    there = choose(open_run(scenes / "images", *SETTINGS, "discover.actors=2", limit=8, name="ray", seed=5))
    assert there.facts == here.facts
    assert read(there).equals(read(here))


def test_a_sample_of_too_few_segments_asks_for_k(scenes: Path, open_here: Open) -> None:
    with pytest.raises(DatusError, match=r"its 1 images have too few segments to tell .* give --clusters K"):
        choose(open_here(scenes / "images", *SETTINGS, "discover.resolution=0.01", limit=1))


def test_a_run_takes_what_was_found_and_so_does_its_prediction(
    monkeypatch: pytest.MonkeyPatch, scenes: Path, tmp_path: Path
) -> None:
    commands_without_ray(monkeypatch)
    source, out = str(scenes / "images"), tmp_path / "run"
    flags = {"source": source, "limit": 8, "backbone": "untrained:vit_tiny_patch16_224", "no_refine": True}
    settings = ("ingest.images_per_part=4",)

    def masks(folder: Path) -> pa.Table:
        return read(RunFolder(str(folder)).require(Labelled))

    summary = datus2_ray.run(load({**flags, "out": str(out)}, preset="best", assignments=settings))
    chosen = RunFolder(str(out)).require(Sampled).facts.k
    own = masks(out)
    assert summary["clusters"] == chosen
    datus2_ray.predict(str(out), source, str(tmp_path / "masks"), limit=4)
    assert masks(tmp_path / "masks").equals(own.slice(0, 4))
    # Given as a number in the same folder, it gives the same masks, and nothing of the choice is current any more.
    datus2_ray.run(load({**flags, "out": str(out), "clusters": chosen}, preset="best", assignments=settings))
    assert masks(out).equals(own)
    assert RunFolder(str(out)).find(Sampled) is None


def test_k_is_found_where_nothing_tells_it(scenes: Path, open_here: Open) -> None:
    settings = (*SETTINGS, "discover.resolution=6")
    sampled = choose(open_here(scenes / "images", *settings, limit=12)).facts
    totals = {score["clusters"]: score["agreement"] + score["silhouette"] for score in sampled.scores}
    assert set(totals) <= set(COUNTS)
    assert len(totals) > 3
    assert totals[sampled.k] == max(totals.values())
    with pytest.raises(UsageError, match="no classes to count: give --clusters K"):
        open_here(scenes / "images", name="paper")


def test_the_stages_after_the_sample_take_what_it_found(scenes: Path, open_here: Open) -> None:
    run = open_here(scenes / "images", *SETTINGS, limit=4)
    run = execute(run, (INGEST,))[0].with_commit(Commit("", "found", 4, 4, 0, {}, Sampled(5, ())))
    assert run.k == 5
