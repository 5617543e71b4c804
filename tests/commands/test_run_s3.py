"""The whole chain in a bucket of a store that refuses every twentieth request: the bits of a run in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import pytest

from datus2_ray.engine.training.tokens import MODEL
from datus2_ray.engine.training.worker import STATE
from datus2_ray.store import folders, s3, storage
from tests.commands.conftest import FinishedRun, small_settings, tables

pytestmark = pytest.mark.starts_ray

#: Packs shards, runs on them twice and predicts, in a process whose workers have the store's address from it.
COMMANDS = """
import json, sys
import datus2_ray
from datus2_ray.store import folders

pack, run, masks = (json.loads(text) for text in sys.argv[1:])
commit = datus2_ray.ingest(datus2_ray.RunConfig.model_validate(pack))
config = datus2_ray.RunConfig.model_validate(run)
summary = datus2_ray.run(config)
before = {entry.path: entry.modified_ns for entry in folders.list_files(config.out)}
again = datus2_ray.run(config)
after = {entry.path: entry.modified_ns for entry in folders.list_files(config.out)}
folder = datus2_ray.predict(config.out, config.source, masks, limit=3)
exported = datus2_ray.export(config.out, "cvat")
outcome = {"shards": commit.uri, "rows": commit.rows_out, "metrics": summary["metrics"], "folder": folder}
print("OUTCOME", json.dumps({**outcome, "exported": exported, "same": again == summary and before == after}))
"""


@pytest.mark.slow
def test_a_run_in_a_bucket_that_refuses_requests_gives_what_a_run_on_a_folder_gives(
    finished_run: FinishedRun, faulty: Callable[..., AbstractContextManager[str]], bucket: str, scenes: Path
) -> None:
    s3.open_bucket.cache_clear()
    source, packed, out = f"s3://{bucket}/scenes", f"s3://{bucket}/packed", f"s3://{bucket}/runs/one"
    for file in scenes.rglob("*"):
        if file.is_file():
            storage.write_bytes(storage.join(source, file.relative_to(scenes).as_posix()), file.read_bytes())
    refused = []

    def fault(number: int, method: str) -> tuple[int, str] | None:
        if number % 20 == 0:
            refused.append(method)
            return 503, "SlowDown"
        return None

    # Two workers under Ray Train, with a checkpoint in the bucket, fit what one alone fits.
    pack, run = small_settings(source, packed, dataset="demo"), small_settings(packed, out, "refine.workers=2")
    settings = [json.dumps(value) for value in (pack.model_dump(mode="json"), run.model_dump(mode="json"))]
    with faulty(fault) as address:
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, *settings, json.dumps(f"s3://{bucket}/masks")],
            env={**os.environ, "AWS_ENDPOINT_URL": address}, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    lines = [line.removeprefix("OUTCOME ") for line in done.stdout.splitlines() if line.startswith("OUTCOME ")]
    assert lines, done.stderr
    outcome = json.loads(lines[0])
    assert len(refused) > 25
    assert {"GET", "PUT"} <= set(refused)

    assert outcome["rows"] == 24
    assert outcome["shards"].startswith(f"{packed}/shards/")
    # The same command once more had nothing left to do.
    assert outcome["same"]
    assert outcome["metrics"] == finished_run.summary["metrics"]
    written = tables(out)
    of_stages = ("discover/", "cluster/", "label/", "em/", "predict/", "token_tree/", "baseline/", "evaluate/")
    expected = {name: table for name, table in finished_run.tables.items() if name.startswith(of_stages)}
    assert {name for name in written if name.startswith(of_stages)} == set(expected)
    for name, table in expected.items():
        assert written[name].equals(table), name
    page = storage.read_bytes(storage.join(out, "report", "index.html"))
    assert b"<html" in page
    assert b"sky" in page
    with zipfile.ZipFile(BytesIO(storage.read_bytes(f"{outcome['exported']}/annotations.zip"))) as file:
        assert file.testzip() is None
        assert sum(name.startswith("SegmentationClass/") for name in file.namelist()) == 24
    # What the checkpoint had beside the model is gone.
    files = {entry.path.rsplit("/", 1)[-1] for entry in folders.list_files(storage.join(out, "em"))}
    assert MODEL in files
    assert STATE not in files
    assert [entry.path for entry in folders.list_files(outcome["folder"])] == [f"scene_{i:04d}.png" for i in range(3)]
