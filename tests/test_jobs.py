"""Jobs on a real cluster that requires a token: sent, followed, refused, and not done twice."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from datus2_ray.store import parquet, storage
from tests.ports import free_ports

pytestmark = pytest.mark.starts_ray

ROOT = Path(__file__).parents[1]
RAY = Path(sys.executable).parent / "ray"


@pytest.fixture(scope="module")
def cluster(s3_server: str) -> Iterator[dict[str, str]]:
    """Start a cluster of one node, apart from the tests' own Ray, and give the environment that reaches it."""
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


def submit(cluster: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "datus2_ray", "submit", *arguments],
        cwd=ROOT, env=cluster, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ray_submit(cluster: dict[str, str], *line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RAY, "job", "submit", "--working-dir", ".", "--", "python", "-m", "datus2_ray", *line],
        cwd=ROOT, env=cluster, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_job_given_twice_runs_once_and_leaves_its_report_in_the_bucket(
    cluster: dict[str, str], bucket: str, scenes: Path
) -> None:
    source, out = f"s3://{bucket}/shards", f"s3://{bucket}/runs/job"
    pictures = sorted((scenes / "images").iterdir())
    columns = {
        "image": [picture.read_bytes() for picture in pictures],
        "image_id": [picture.stem for picture in pictures],
        "mask": [(scenes / "masks" / f"{picture.stem}.png").read_bytes() for picture in pictures],
    }
    parquet.write_table(f"{source}/train-00000.parquet", pa.table(columns), row_group_rows=8)
    line = ["run", source, "--out", out, "--dataset", "demo", "--preset", "paper", "--no-refine", "--limit", "8"]
    line += ["--backbone", "untrained:vit_tiny_patch16_224", "--set", "evaluate.token_kmeans=false"]
    line += ["--set", "discover.descriptor=tokens", "--set", "discover.actors=1"]
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
    assert storage.read_json(storage.join(out, "summary.json"))["images"] == 8
    assert b"<html" in storage.read_bytes(storage.join(out, "report", "index.html"))
    # By Ray's own command, and with nothing left to do.
    again = ray_submit(cluster, *line)
    assert again.returncode == 0, again.stdout
    assert "done before" in again.stdout
    # An error is one line in the log.
    failed = ray_submit(cluster, "run", f"s3://{bucket}/nowhere", "--out", f"s3://{bucket}/out", "--clusters", "2")
    assert failed.returncode == 1
    errors = [line for line in failed.stdout.splitlines() if line.startswith("error: ")]
    assert f"s3://{bucket}/nowhere does not exist" in errors[0]
    assert "Traceback" not in failed.stdout


@pytest.mark.slow
def test_a_cluster_refuses_who_has_not_its_token(cluster: dict[str, str]) -> None:
    stranger = submit({**cluster, "RAY_AUTH_TOKEN": "0" * 64}, "evaluate", "/runs/one")
    _, errors = stranger.communicate(timeout=300)
    assert stranger.returncode == 1
    assert "refuses the token" in errors.splitlines()[-1]
