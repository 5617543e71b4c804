"""Resolution and K found without labels: the views are what discover finds, and the choice is the same for everyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datus2_ray.engine.context import RunContext
from PIL import Image, ImageOps

import datus2_ray
from datus2_ray.config.load import load
from datus2_ray.errors import DatusError, UsageError
from datus2_ray.stages.discover.discover import discover
from datus2_ray.stages.ingest.ingest import ingest
from datus2_ray.stages.sample.mirrored import read_views
from datus2_ray.stages.sample.sample import COUNTS, RESOLUTIONS, choose
from datus2_ray.store import storage
from datus2_ray.store.columns import list_arrays

SETTINGS = ("discover.resolution=auto", "discover.actors=1", "cluster.workers=2", "ingest.images_per_part=4")


def read(context: RunContext, name: str) -> pa.Table:
    parts = sorted(context.folder.require(name).parts)
    return pa.concat_tables([storage.read_table(context.folder.path(name, part)) for part in parts]).combine_chunks()


@pytest.mark.slow
def test_views_are_what_discover_finds_in_the_images_and_in_mirrored_files(
    scenes: Path, tmp_path: Path, open_run: Callable[..., RunContext]
) -> None:
    turned = tmp_path / "turned"
    turned.mkdir()
    for file in sorted((scenes / "images").iterdir())[:8]:
        ImageOps.mirror(Image.open(file)).save(turned / f"{file.stem}.png")
    best = ("discover.graph=neighbours", "discover.feature=token", "discover.descriptor=tokens")
    context = open_run(scenes / "images", *best, *SETTINGS, limit=8, clusters=3)
    images = ingest(context)
    chosen, clusters = choose(context, images, clusters=3)
    assert clusters == 3
    sample = read(context, "sample")
    value = 3.0
    for name, source, side in (("plain", scenes / "images", 0), ("mirrored", turned, 1)):
        other = open_run(source, *best, f"discover.resolution={value}", *SETTINGS[1:], limit=8, clusters=3, name=name)
        discover(other, ingest(other), keep_tokens=False)
        found = read(other, "segments")
        view = read_views(sample, RESOLUTIONS, value)[side]
        maps = [np.asarray(one).reshape(14, 14) for one in list_arrays(found["patch_map"])]
        for mine, theirs in zip(view.maps, maps, strict=True):
            np.testing.assert_array_equal(mine, theirs[:, ::-1] if side else theirs)
        for one, two in zip(view.descriptors, list_arrays(found["descriptors"]), strict=True):
            np.testing.assert_array_equal(one, two)

    facts = context.folder.require("sample").facts
    scores = {score["resolution"]: score["agreement"] for score in facts["scores"]}
    assert chosen.config.discover.resolution == facts["resolution"]
    assert scores[facts["resolution"]] == max(scores.values())
    # Another seed and another number of actors: the same choice, from the same numbers.
    again = open_run(
        scenes / "images", *best, *SETTINGS, "discover.actors=2", limit=8, clusters=3, name="again", seed=5
    )
    choose(again, ingest(again), clusters=3)
    assert again.folder.require("sample").facts == facts
    # More clusters than there can be segments.
    with pytest.raises(DatusError, match="too few segments for 5000 clusters"):
        choose(context, images, clusters=5000)


@pytest.mark.slow
def test_a_run_takes_what_was_found_and_so_does_its_prediction(ray_session: None, scenes: Path, tmp_path: Path) -> None:
    flags = {"source": str(scenes / "images"), "clusters": 3, "limit": 8, "backbone": "untrained:vit_tiny_patch16_224"}
    out = tmp_path / "run"
    config = load({**flags, "out": str(out), "no_refine": True}, preset="best", assignments=SETTINGS)
    summary = datus2_ray.run(config)
    chosen = storage.read_json(str(out / "sample/_COMMIT.json"))["facts"]["resolution"]
    assert summary["resolution"] == chosen
    assert f"resolution {chosen:g} (found on a sample" in (out / "report/index.html").read_text()
    fixed = config.model_copy(update={"discover": config.discover.model_copy(update={"resolution": chosen})})
    datus2_ray.run(fixed.model_copy(update={"out": str(tmp_path / "fixed")}))
    part = "masks/initial/part-000000.parquet"
    own, same = (storage.read_table(str(tmp_path / name / part)) for name in ("run", "fixed"))
    assert own.equals(same)
    datus2_ray.predict(str(out), flags["source"], str(tmp_path / "masks"), limit=4)
    assert storage.read_table(str(tmp_path / "masks" / part)).equals(own.slice(0, 4))
    # Given a number later, the run keeps nothing of the choice that it did not make.
    datus2_ray.run(fixed)
    assert not (out / "sample").exists()


@pytest.mark.slow
def test_k_is_found_where_nothing_tells_it(ray_session: None, scenes: Path, tmp_path: Path) -> None:
    flags = {"source": str(scenes / "images"), "dataset": "folder", "limit": 12, "no_refine": True}
    weights = {"backbone": "untrained:vit_tiny_patch16_224", "out": str(tmp_path / "run")}
    settings = (*SETTINGS[1:], "discover.resolution=6")
    summary = datus2_ray.run(load({**flags, **weights}, preset="best", assignments=settings))
    facts = storage.read_json(str(tmp_path / "run/sample/_COMMIT.json"))["facts"]
    totals = {score["clusters"]: score["agreement"] + score["silhouette"] for score in facts["scores"]}
    assert set(totals) <= set(COUNTS)
    assert len(totals) > 3
    assert totals[summary["clusters"]] == max(totals.values())
    assert summary["resolution"] == 6
    with pytest.raises(UsageError, match="no classes to count: give --clusters K"):
        datus2_ray.run(load({**flags, **weights, "out": str(tmp_path / "paper")}))


def test_crops_have_no_automatic_resolution() -> None:
    with pytest.raises(UsageError, match="resolution = auto needs descriptor = tokens, not cls"):
        load({"source": "in", "out": "out"}, assignments=("discover.resolution=auto",))
    with pytest.raises(UsageError, match="resolution"):
        load({"source": "in", "out": "out"}, assignments=("discover.resolution=0",))
