"""Jobs on a real cluster that requires a token: sent, followed, refused, and not done twice.

The whole chain runs as one of them, in a bucket of a store that refuses every twentieth request.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest

from datus2_ray.engine.training.tokens import MODEL
from datus2_ray.engine.training.worker import STATE
from datus2_ray.store import folders, storage
from tests.commands.conftest import SETTINGS, FinishedRun, small_settings, tables
from tests.ports import free_ports
from tests.s3 import put_before

pytestmark = pytest.mark.starts_ray

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


#: Runs again with the settings of a run, packs shards, and predicts and exports with them.
THEN = """
import json, sys
import datus2_ray
from datus2_ray.store import folders, storage

out, packed, masks, pack = sys.argv[1:]
config = datus2_ray.RunConfig.model_validate(storage.read_json(storage.join(out, "config.json")))
before = {entry.path: entry.modified_ns for entry in folders.list_files(out)}
summary = datus2_ray.run(config)
unchanged = before == {entry.path: entry.modified_ns for entry in folders.list_files(out)}
commit = datus2_ray.ingest(datus2_ray.RunConfig.model_validate_json(pack))
outcome = {"summary": summary, "unchanged": unchanged, "shards": commit.uri, "rows": commit.rows_out}
outcome["masks"] = datus2_ray.predict(out, packed, masks, limit=3)
outcome["exported"] = datus2_ray.export(out, "cvat")
print(json.dumps(outcome))
"""


@dataclass(frozen=True)
class Cluster:
    """The environment that reaches it, and the methods of requests that its store of objects refused."""

    environment: dict[str, str]
    refused: list[str]


@pytest.fixture(scope="module")
def cluster(s3_server: str) -> Iterator[Cluster]:
    """Start a cluster of one node, apart from the tests' own Ray, before whose store of objects another one refuses."""
    refused: list[str] = []

    def fault(number: int, method: str) -> tuple[int, str] | None:
        if number % 20 == 0:
            refused.append(method)
            return 503, "SlowDown"
        return None

    with put_before(s3_server, fault) as address, serve_ray(address) as environment:
        yield Cluster(environment, refused)


@contextmanager
def serve_ray(endpoint: str) -> Iterator[dict[str, str]]:
    """Start a cluster of one node whose jobs find S3 at an address, and yield the environment that reaches it."""
    # Short: the path of a Unix socket below it must not exceed 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="rj", dir="/tmp"))
    gcs, dashboard, client, agent, agent_grpc, metrics, environment_agent = free_ports(7)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PYTHONPATH": str(ROOT),
        # A job's `python` is the cluster's.
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_TMPDIR": str(folder),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "AWS_ENDPOINT_URL": endpoint,
    }
    command = [
        str(RAY), "start", "--head", "--block", "--num-cpus=4", "--disable-usage-stats", f"--temp-dir={folder}",
        "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}",
        f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={agent_grpc}", f"--metrics-export-port={metrics}",
        f"--runtime-env-agent-port={environment_agent}", "--min-worker-port=0", "--max-worker-port=0",
    ]  # fmt: skip
    with (folder / "ray.log").open("w") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    try:
        for _ in range(60):
            listed = subprocess.run([RAY, "job", "list", "--address", address], env=environment, capture_output=True)
            if listed.returncode == 0:
                break
            assert head.poll() is None, (folder / "ray.log").read_text()
            time.sleep(1)
        assert listed.returncode == 0, listed.stderr
        yield {**environment, "RAY_API_SERVER_ADDRESS": address}
    finally:
        # The head and its children are a session of their own; Ray's own drain would take half a minute.
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def submit(cluster: Cluster, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "datus2_ray", "submit", *arguments],
        cwd=ROOT, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ray_submit(cluster: Cluster, *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", *line],
        cwd=ROOT, env=cluster.environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_job_given_twice_runs_once_and_gives_in_a_refusing_bucket_what_a_run_on_a_folder_gives(
    finished_run: FinishedRun, cluster: Cluster, bucket: str, scenes: Path
) -> None:
    source, packed, out = (f"s3://{bucket}/{name}" for name in ("scenes", "packed", "runs/one"))
    for file in scenes.rglob("*"):
        if file.is_file():
            storage.write_bytes(storage.join(source, file.relative_to(scenes).as_posix()), file.read_bytes())
    # Two workers under Ray Train, with a checkpoint in the bucket, fit what one alone fits.
    line = ["run", source, "--out", out, "--dataset", "demo", "--preset", "paper"]
    line += ["--backbone", "untrained:vit_tiny_patch16_224"]
    line += [argument for setting in (*SETTINGS, "refine.workers=2") for argument in ("--set", setting)]
    first = submit(cluster, *line)
    assert first.stdout is not None
    said = first.stdout.readline()
    submission_id = said.split()[1].rstrip(":")
    assert said == f"job {submission_id}: submitted\n", first.communicate()
    # The same command follows the same job; other settings for the same folder are refused while that runs.
    second, other = submit(cluster, "--", *line), submit(cluster, *line, "--seed", "1")
    _, refused = other.communicate(timeout=300)
    assert other.returncode == 1
    assert f"job {submission_id} with other settings writes to {out}" in refused
    ended = [process.communicate(timeout=300) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], ended
    assert ended[1][0].startswith(f"job {submission_id}: runs already\n")
    assert all("masks" in output for output, _ in ended)

    summary = storage.read_json(storage.join(out, "summary.json"))
    assert summary["metrics"] == finished_run.summary["metrics"]
    written = tables(out)
    of_stages = ("discover/", "cluster/", "label/", "em/", "predict/", "token_tree/", "baseline/", "evaluate/")
    expected = {name: table for name, table in finished_run.tables.items() if name.startswith(of_stages)}
    assert {name for name in written if name.startswith(of_stages)} == set(expected)
    for name, table in expected.items():
        assert written[name].equals(table), name
    page = storage.read_bytes(storage.join(out, "report", "index.html"))
    assert b"<html" in page
    assert b"sky" in page
    # What the checkpoint had beside the model is gone.
    files = {entry.path.rsplit("/", 1)[-1] for entry in folders.list_files(storage.join(out, "em"))}
    assert MODEL in files
    assert STATE not in files

    # By Ray's own command, and with nothing left to do; then what is done with a finished run, of shards.
    pack = small_settings(source, packed, dataset="demo")
    texts = (out, packed, f"s3://{bucket}/masks", pack.model_dump_json())
    then = ray_submit(cluster, "python", "-c", THEN, *texts)
    assert then.returncode == 0, then.stdout
    assert "done before" in then.stdout
    outcome = json.loads(next(line for line in then.stdout.splitlines() if line.startswith("{")))
    assert outcome["unchanged"]
    assert outcome["summary"] == summary
    assert outcome["rows"] == 24
    assert outcome["shards"].startswith(f"{packed}/shards/")
    assert [entry.path for entry in folders.list_files(outcome["masks"])] == [f"scene_{i:04d}.png" for i in range(3)]
    with zipfile.ZipFile(BytesIO(storage.read_bytes(f"{outcome['exported']}/annotations.zip"))) as file:
        assert file.testzip() is None
        assert sum(name.startswith("SegmentationClass/") for name in file.namelist()) == 24
    # An error is one line in the log.
    nowhere = ("run", f"s3://{bucket}/nowhere", "--out", f"s3://{bucket}/out", "--clusters", "2")
    failed = ray_submit(cluster, "python", "-m", "datus2_ray", *nowhere)
    assert failed.returncode == 1
    errors = [line for line in failed.stdout.splitlines() if line.startswith("error: ")]
    assert f"s3://{bucket}/nowhere does not exist" in errors[0]
    assert "Traceback" not in failed.stdout
    assert len(cluster.refused) > 25
    assert {"GET", "PUT"} <= set(cluster.refused)


@pytest.mark.slow
def test_a_cluster_refuses_who_has_not_its_token(cluster: Cluster) -> None:
    strange = replace(cluster, environment={**cluster.environment, "RAY_AUTH_TOKEN": "0" * 64})
    stranger = submit(strange, "evaluate", "/runs/one")
    _, errors = stranger.communicate(timeout=300)
    assert stranger.returncode == 1
    assert "refuses the token" in errors.splitlines()[-1]
