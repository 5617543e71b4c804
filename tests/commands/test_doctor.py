"""The doctor: every trap is found, each with a remedy, and no secret is told."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from datus2_ray.cli import app
from datus2_ray.commands import doctor
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.store import storage

Usage = namedtuple("Usage", ["total", "used", "free"])


def test_packages_out_of_range_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_packages().state == "ok"
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "2.59.0" if name == "ray" else real(name))
    found = doctor.check_packages()
    assert found.state == "failure"
    assert "ray 2.59.0, not " in found.text
    assert "constraints.txt" in found.text


@pytest.mark.parametrize(
    ("address", "mode", "has_token", "state", "text"),
    [
        (None, None, False, "ok", "a local Ray"),
        ("10.0.0.1:6379", None, False, "warning", "a token is not there"),
        ("10.0.0.1:6379", None, True, "warning", "a token is there"),
        ("10.0.0.1:6379", "disabled", False, "ok", "disabled"),
        ("10.0.0.1:6379", "token", False, "failure", "set RAY_AUTH_TOKEN"),
        ("10.0.0.1:6379", "token", True, "ok", "a token is there"),
    ],
)
def test_a_cluster_that_requires_a_token_gets_one(
    address: str | None, mode: str | None, has_token: bool, state: str, text: str
) -> None:
    found = doctor.judge_authentication(address, mode, has_token)
    assert found.state == state
    assert text in found.text


def test_a_token_is_found_and_a_cluster_that_does_not_answer_is_reported_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    token = "0123456789abcdef0123456789abcdef-of-the-tests"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    # In a process of its own: Ray reads mode and token once.
    ask = (
        "from datus2_ray.commands.doctor import *\n"
        "for finding in (check_authentication(), check_ray()): print(finding.state, finding.text)"
    )
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=60,
        env={**clean, "HOME": str(tmp_path), "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
    )  # fmt: skip
    authentication, ray = ran.stdout.splitlines()
    assert authentication == "ok RAY_AUTH_MODE=token, and a token is there"
    assert ray.startswith(f"failure no Ray cluster answers at RAY_ADDRESS = {address}; start one")
    assert token not in ran.stdout + ran.stderr
    assert time.monotonic() - began < 60


def test_the_ray_that_runs_is_described(ray_session: None) -> None:
    found = doctor.check_ray()
    assert found.state == "ok"
    assert "1 node, 4 CPUs, 0 GPUs" in found.text


def test_a_containers_small_shared_memory_is_found(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_shared_memory().state == "ok"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64 * 2**20, 0, 64 * 2**20))
    found = doctor.check_shared_memory()
    assert found.state == "warning"
    assert "--shm-size" in found.text


@pytest.mark.parametrize(("free", "state"), [(50_000_000_000, "ok"), (1_000_000_000, "warning")])
def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100_000_000_000, 0, free))
    assert doctor.check_disk().state == state


@pytest.mark.parametrize(
    ("by_torch", "by_ray", "joined", "state", "text"),
    [
        (0, 0, False, "ok", "no GPU"),
        (0, 2, False, "failure", "torch"),
        (0, 2, True, "ok", "on other nodes"),
        (2, 0, False, "warning", "--num-gpus=2"),
        (2, 2, False, "ok", "torch sees 2"),
    ],
)
def test_gpus_are_seen_by_ray_and_by_torch(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, by_torch: int, by_ray: int, joined: bool, state: str, text: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: by_torch > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: by_torch)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "a card")
    monkeypatch.setattr(Machines, "now", lambda: Machines((Node(2, by_ray, 1),), joined))
    found = doctor.check_gpus()
    assert found.state == state
    assert text in found.text


def test_a_store_is_listed_and_its_errors_are_told_without_a_secret(bucket: str) -> None:
    assert doctor.check_store(None).state == "ok"
    storage.write_bytes(f"s3://{bucket}/in/a.png", b"x")
    found = doctor.check_store(f"s3://{bucket}/in")
    assert found.state == "ok"
    assert "1 files" in found.text
    missing = doctor.check_store("s3://no-such-bucket-anywhere/in")
    assert missing.state == "failure"
    for text in (found.text, missing.text):
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
        assert os.environ["AWS_ACCESS_KEY_ID"] not in text


def test_weights_are_loaded_as_an_actor_would(tmp_path: Path) -> None:
    packaged = doctor.check_weights(None)
    assert packaged.state == "ok"
    assert "sha256=" in packaged.text
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(PACKAGED_WEIGHTS.read_bytes()[:1000])
    assert doctor.check_weights(str(copy)).state == "failure"
    untrained = doctor.check_weights("untrained:vit_tiny_patch16_224")
    assert untrained.state == "warning"
    assert "UNTRAINED" in untrained.text


def test_the_command_prints_every_finding_and_fails_if_one_does(
    scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ray_session: None
) -> None:
    for source, code in ((str(scenes), 0), ("/no/such/folder", 1)):
        monkeypatch.setattr(sys, "argv", ["datus2", "doctor", "--source", source])
        with pytest.raises(SystemExit) as ended:
            app.main()
        assert ended.value.code == code
        text = capsys.readouterr().out
        states = {line[9:24].strip(): line.split()[0] for line in text.splitlines()}
        assert set(states) == {
            "packages", "authentication", "ray", "shared memory", "disk", "GPUs", "store", "weights", "extras",
        }  # fmt: skip
        assert states["store"] == ("FAILURE" if code else "ok")
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
