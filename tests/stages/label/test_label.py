"""Initial masks whose borders follow the image: of all images, the same for everyone, on the edge of a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datus2_ray.engine.context import RunContext

from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.stages.cluster.cluster import cluster
from datus2_ray.stages.discover.discover import discover
from datus2_ray.stages.ingest.ingest import ingest
from datus2_ray.stages.label.label import label
from datus2_ray.stages.label.sharpen import SharpenMasks
from datus2_ray.store import schemas, storage

BEST = ("discover.graph=neighbours", "discover.feature=token", "discover.descriptor=tokens", "ingest.images_per_part=3")


@pytest.mark.slow
def test_masks_along_the_edges_of_images(scenes: Path, open_run: Callable[..., RunContext]) -> None:
    masks = {}
    for name, settings in (
        ("patches", ()),
        ("image", ("label.edges=image",)),
        ("again", ("label.edges=image", "discover.actors=2")),
    ):
        context = open_run(scenes / "images", *BEST, *settings, limit=6, clusters=3, name=name)
        segments = discover(context, ingest(context), keep_tokens=False)
        cluster(context, segments, 3)
        commit = label(context, segments, context.folder)
        assert label(context, segments, context.folder) == commit
        tables = [storage.read_table(context.folder.path("masks/initial", part)) for part in sorted(commit.parts)]
        masks[name] = pa.concat_tables(tables)
        assert masks[name].schema.equals(schemas.INITIAL_MASKS)
    assert masks["image"].equals(masks["again"])
    assert masks["image"].drop_columns(["mask"]).equals(masks["patches"].drop_columns(["mask"]))
    drawn, painted = (
        np.stack([decode_labels(mask) for mask in masks[name]["mask"].to_pylist()]) for name in ("image", "patches")
    )
    assert drawn.shape == (6, 240, 320)
    assert set(np.unique(drawn)) <= set(np.unique(painted))
    # Borders move; what lies within stays.
    assert 0.5 < (drawn == painted).mean() < 1


def test_a_patch_that_is_half_of_either_is_cut_at_the_edge(ray_session: None) -> None:
    image = np.full((224, 224, 3), 30, dtype=np.uint8)
    image[:, 100:] = 220  # in the middle of a patch of 8 pixels
    image += np.random.default_rng(0).integers(0, 10, image.shape, dtype=np.uint8)
    patches = np.zeros((28, 28), dtype=np.uint8)
    patches[:, 13:] = 255  # noise, which has borders too
    drawn = SharpenMasks("cpu", Heartbeat()).draw(image, patches, 448, 224)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (448, 224)
    assert (drawn[:, :99] == 0).all()
    assert (drawn[:, 101:] == 255).all()
