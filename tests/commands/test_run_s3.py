"""The whole chain with shards, tables, checkpoints and report in a bucket: the same bits as from a folder on a disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import datus2_ray
from datus2_ray.config.load import RunConfig, load
from datus2_ray.store import storage

SETTINGS = (
    "ingest.images_per_part=10",
    "ingest.row_group_rows=10",
    "discover.actors=1",  # each imports torch, which takes longer than the models' work on a few images
    "cluster.workers=2",
    "cluster.restarts=3",
    "refine.steps=3",
    "refine.size=64",
    "refine.batch_size=4",
    "refine.workers=1",
    "evaluate.token_restarts=1",
)
TABLES = ("segments", "clusters", "masks/initial")


def settings(source: str, out: str, dataset: str | None) -> RunConfig:
    flags = {"source": source, "out": out, "dataset": dataset, "backbone": "untrained:vit_tiny_patch16_224"}
    return load(flags, preset="paper", assignments=SETTINGS)


@pytest.mark.slow
def test_a_run_on_shards_in_a_bucket_gives_what_a_run_on_a_folder_gives(
    ray_session: None, bucket: str, scenes: Path, tmp_path: Path
) -> None:
    source, out = f"s3://{bucket}/scenes", f"s3://{bucket}/runs/one"
    for file in scenes.rglob("*"):
        if file.is_file():
            storage.write_bytes(storage.join(source, file.relative_to(scenes).as_posix()), file.read_bytes())
    packed = f"s3://{bucket}/packed"
    shards, commit = datus2_ray.ingest(settings(source, packed, "demo"))
    assert (shards, commit.rows_out) == (f"{packed}/shards", 24)
    there = datus2_ray.run(settings(packed, out, None))
    here = datus2_ray.run(settings(str(scenes), str(tmp_path / "run"), "demo"))
    assert there["metrics"] == here["metrics"]
    for stage in TABLES:
        names = [entry.path for entry in storage.list_files(storage.join(out, stage)) if entry.path.endswith("parquet")]
        assert names == sorted(f.name for f in (tmp_path / "run" / stage).glob("*.parquet"))
        for name in names:
            assert storage.read_table(storage.join(out, stage, name)).equals(
                pq.read_table(tmp_path / "run" / stage / name)
            )
    page = storage.read_bytes(storage.join(out, "report", "index.html"))
    assert b"<html" in page
    assert b"sky" in page
    # Optimiser states are gone, the model is there, and the same command has nothing left to do.
    assert {entry.path.split("/")[0] for entry in storage.list_files(storage.join(out, "refine"))} >= {
        "model.safetensors"
    }
    before = {entry.path: entry.modified_ns for entry in storage.list_files(out)}
    again = datus2_ray.run(settings(packed, out, None))
    assert again == there
    assert {entry.path: entry.modified_ns for entry in storage.list_files(out)} == before

    folder = datus2_ray.predict(out, packed, f"s3://{bucket}/masks", limit=3)
    assert [entry.path for entry in storage.list_files(folder)] == [f"scene_{i:04d}.png" for i in range(3)]
