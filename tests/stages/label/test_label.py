"""Initial masks whose borders follow the image: of all images, the same for everyone, on the edge of a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.clustering.table import read_clusters
from datus2_ray.engine.execute import execute, execute_stage
from datus2_ray.engine.heartbeat import Unheard
from datus2_ray.engine.run import Run
from datus2_ray.stages.cluster.cluster import CLUSTER
from datus2_ray.stages.discover.discover import DISCOVER
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.label.label import LABEL
from datus2_ray.stages.label.sharpen import SharpenMasks
from datus2_ray.store import parquet, schemas
from datus2_ray.store.facts import Clustered, Discovered, Labelled

BEST = ("discover.graph=neighbours", "discover.feature=token", "discover.descriptor=tokens")


def test_masks_along_the_edges_of_images(scenes: Path, open_here: Callable[..., Run]) -> None:
    masks = {}
    for name, settings in (
        ("patches", ()),
        ("image", ("label.edges=image",)),
        ("again", ("label.edges=image", "ingest.images_per_part=2")),
    ):
        run = open_here(scenes / "images", *BEST, *settings, limit=5, clusters=3, name=name)
        run, _ = execute(run, (INGEST, DISCOVER, CLUSTER, LABEL))
        commit = run.commit(Labelled)
        assert execute_stage(run, LABEL).commit(Labelled) == commit
        masks[name] = pa.concat_tables([parquet.read_table(commit.path(part)) for part in sorted(commit.parts)])
        assert masks[name].schema.equals(schemas.INITIAL_MASKS)
        # Models draw only edges: only there does the device decide the result.
        assert (LABEL.identify(run, "cpu").fingerprint == LABEL.identify(run, "cuda").fingerprint) == (
            name == "patches"
        )
        check_segments(run)
    assert masks["image"].equals(masks["again"])
    assert masks["image"].drop_columns(["mask"]).equals(masks["patches"].drop_columns(["mask"]))
    drawn, painted = (
        np.stack([decode_labels(mask) for mask in masks[name]["mask"].to_pylist()]) for name in ("image", "patches")
    )
    assert drawn.shape == (5, 240, 320)
    assert set(np.unique(drawn)) <= set(np.unique(painted))
    # Borders move; what lies within stays.
    assert 0.5 < (drawn == painted).mean() < 1


def check_segments(run: Run) -> None:
    """Compare clusters and areas with the fine clusters of segments, whatever K is."""
    labelled, clustered = run.commit(Labelled), run.commit(Clustered)
    members = read_clusters(clustered, 3).members
    areas = np.zeros(clustered.facts.centroids)
    pixels = 0
    for part in labelled.parts:
        segments = parquet.read_table(run.commit(Discovered).path(part)).to_pylist()
        for row, image in zip(parquet.read_table(labelled.path(part)).to_pylist(), segments, strict=True):
            fine, second = np.array(row["segment_fine"]), np.array(row["segment_second"])
            assert members[fine].tolist() == row["segment_clusters"]
            assert (fine != second).all()
            assert (np.array(row["segment_distances"]) <= row["segment_second_distances"]).all()
            of_patch = image["height"] * image["width"] / (image["grid_height"] * image["grid_width"])
            np.add.at(areas, fine, np.array(image["sizes"]) * of_patch)
            pixels += image["height"] * image["width"]
    np.testing.assert_allclose(labelled.facts.areas, areas, atol=0.5)
    assert labelled.facts.pixels == pixels


def test_a_patch_that_is_half_of_either_is_cut_at_the_edge() -> None:
    image = np.full((224, 224, 3), 30, dtype=np.uint8)
    image[:, 100:] = 220  # in the middle of a patch of 8 pixels
    image += np.random.default_rng(0).integers(0, 10, image.shape, dtype=np.uint8)
    patches = np.zeros((28, 28), dtype=np.uint8)
    patches[:, 13:] = 255  # noise, which has borders too
    drawn = SharpenMasks("cpu", Unheard()).draw(image, patches, 448, 224)
    assert drawn.dtype == np.uint8
    assert drawn.shape == (448, 224)
    assert (drawn[:, :99] == 0).all()
    assert (drawn[:, 101:] == 255).all()
