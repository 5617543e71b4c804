"""Ids that cannot name a mask's file are refused at ingest, not when the masks are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store import storage
from datus2_ray.store.facts import Ingested

Open = Callable[..., Run]


def test_of_a_column_of_captions(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    data = next((scenes / "images").iterdir()).read_bytes()
    (tmp_path / "in").mkdir()
    table = pa.table({"image": [data] * 2, "image_id": ["海" * 80, "海" * 90]})
    pq.write_table(table, tmp_path / "in" / "x.parquet")
    commit = execute_stage(open_here(tmp_path / "in", clusters=2, max_error_rate=0.5), INGEST).commit(Ingested)
    assert (commit.rows_out, commit.rows_quarantined) == (1, 1)
    (refused,) = storage.read_table(commit.path("_quarantine.parquet")).to_pylist()
    assert (refused["image_id"], refused["kind"]) == ("海" * 90, "long_id")
    assert "--id-column" in refused["message"]


def test_of_files_that_keep_their_suffix(open_here: Open, scenes: Path, tmp_path: Path) -> None:
    data = next((scenes / "images").iterdir()).read_bytes()
    for name in ("海" * 83 + ".png", "海" * 83 + ".jpg", "海" * 80 + ".jpg"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    commit = execute_stage(open_here(tmp_path / "in", clusters=2, max_error_rate=0.9), INGEST).commit(Ingested)
    assert (commit.rows_out, commit.rows_quarantined) == (1, 2)
