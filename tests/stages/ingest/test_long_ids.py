"""Ids that are too long to name a mask's file are cut at ingest: no image is lost for its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.layouts.ids import check_id
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested

Open = Callable[..., Run]


def ingested(run: Run) -> dict[str, bytes]:
    """Ingest and return the image of every id."""
    commit: Commit[Ingested] = execute_stage(run, INGEST).commit(Ingested)
    tables = [ImagesTable.of(commit).read(part, ["image_id", "image"]) for part in commit.parts]
    rows = [row for table in tables for row in table.to_pylist()]
    for row in rows:
        check_id(row["image_id"])
    return {row["image_id"]: row["image"] for row in rows}


def test_of_a_column_of_captions(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    first, second, third = (file.read_bytes() for file in sorted((scenes / "images").iterdir())[:3])
    (tmp_path / "in").mkdir()
    table = pa.table({"image": [first, second, third], "image_id": ["海" * 80, "海" * 90, "海" * 90 + "!"]})
    pq.write_table(table, tmp_path / "in" / "x.parquet")
    images = ingested(open_here(tmp_path / "in", clusters=2))
    assert list(images.values()) == [first, second, third]
    assert next(iter(images)) == "海" * 80


def test_of_files_that_keep_their_suffix(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    data = next((scenes / "images").iterdir()).read_bytes()
    (tmp_path / "in").mkdir()
    names = ["海" * 83 + ".png", "海" * 83 + ".jpg", "海" * 80 + ".jpg", "%E6%97%A5%E6%9C%AC" * 12 + ".jpg"]
    for name in names:
        (tmp_path / "in" / name).write_bytes(data)
    assert list(ingested(open_here(tmp_path / "in", clusters=2)).values()) == [data] * len(names)
