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

from datus2_ray.commands import doctor
from datus2_ray.commands.doctor import Subject
from datus2_ray.core.backbone.spec import PACKAGED_WEIGHTS
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.store import storage

NOTHING = Subject()
Usage = namedtuple("Usage", ["total", "used", "free"])


def test_packages_out_of_range_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_python(NOTHING).state == "ok"
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "2.59.0" if name == "ray" else real(name))
    found = doctor.check_python(NOTHING)
    assert found.state == "failure"
    assert "ray 2.59.0, not " in found.text
    assert "constraints.txt" in found.text


TOKEN = "0123456789abcdef0123456789abcdef-of-the-tests"


@pytest.mark.parametrize(
    ("environment", "state", "text"),
    [
        ({}, "ok", "a local Ray"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, "warning", "a token is not there"),
        ({"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_TOKEN": TOKEN}, "warning", "a token is there"),
        ({"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "disabled"}, "ok", "disabled"),
        ({"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "token"}, "failure", "set RAY_AUTH_TOKEN"),
        ({"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}, "ok", "a token is there"),
    ],
)
def test_a_cluster_that_wants_a_token_gets_one(
    tmp_path: Path, environment: dict[str, str], state: str, text: str
) -> None:
    # In a process of its own: Ray reads mode and token once.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ask = "from datus2_ray.commands.doctor import *; f = check_authentication(Subject()); print(f.state, f.text)"
    ran = subprocess.run(
        [sys.executable, "-c", ask], env={**clean, "HOME": str(tmp_path), **environment}, capture_output=True,
        text=True, check=True, timeout=120,
    )  # fmt: skip
    found, _, said = ran.stdout.strip().partition(" ")
    assert found == state
    assert text in said
    assert TOKEN not in ran.stdout + ran.stderr


def test_a_cluster_that_does_not_answer_is_said_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ask = "from datus2_ray.commands.doctor import *; f = check_ray(Subject()); print(f.state, f.text)"
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-c", ask], env={**os.environ, "RAY_ADDRESS": f"127.0.0.1:{port}"}, capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.startswith(f"failure no Ray cluster answers at RAY_ADDRESS = 127.0.0.1:{port}; start one")
    assert time.monotonic() - began < 60


def test_the_ray_that_runs_is_described(ray_session: None) -> None:
    found = doctor.check_ray(NOTHING)
    assert found.state == "ok"
    assert "1 node, 4 CPUs, 0 GPUs" in found.text


def test_a_containers_small_shared_memory_is_found(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_shared_memory(NOTHING).state == "ok"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(64 * 2**20, 0, 64 * 2**20))
    found = doctor.check_shared_memory(NOTHING)
    assert found.state == "warning"
    assert "--shm-size" in found.text


@pytest.mark.parametrize(("free", "state"), [(50_000_000_000, "ok"), (1_000_000_000, "warning")])
def test_a_full_disk_is_found(monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100_000_000_000, 0, free))
    assert doctor.check_disk(NOTHING).state == state


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
    found = doctor.check_gpus(NOTHING)
    assert found.state == state
    assert text in found.text


def test_a_store_is_listed_and_its_errors_are_told_without_a_secret(bucket: str) -> None:
    assert doctor.check_store(NOTHING).state == "ok"
    storage.write_bytes(f"s3://{bucket}/in/a.png", b"x")
    found = doctor.check_store(Subject(source=f"s3://{bucket}/in"))
    assert found.state == "ok"
    assert "1 files" in found.text
    missing = doctor.check_store(Subject(source="s3://no-such-bucket-anywhere/in"))
    assert missing.state == "failure"
    for text in (found.text, missing.text):
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in text
        assert os.environ["AWS_ACCESS_KEY_ID"] not in text


def test_weights_are_loaded_as_an_actor_would(tmp_path: Path) -> None:
    packaged = doctor.check_weights(NOTHING)
    assert packaged.state == "ok"
    assert "sha256=" in packaged.text
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(PACKAGED_WEIGHTS.read_bytes()[:1000])
    assert doctor.check_weights(Subject(backbone=str(copy))).state == "failure"
    untrained = doctor.check_weights(Subject(backbone="untrained:vit_tiny_patch16_224"))
    assert untrained.state == "warning"
    assert "UNTRAINED" in untrained.text


@pytest.mark.slow
@pytest.mark.parametrize(("source", "code"), [("{scenes}", 0), ("/no/such/folder", 1)])
def test_the_command_makes_every_check_and_fails_where_one_does(scenes: Path, source: str, code: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "datus2_ray", "doctor", "--source", source.format(scenes=scenes)], capture_output=True,
        text=True, check=False, timeout=300, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert ran.returncode == code, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == len(doctor.CHECKS)
    for line, (name, _) in zip(lines, doctor.CHECKS, strict=True):
        assert name in line
    assert [line.split()[0] for line in lines if "store " in line[9:15]] == ["ok" if code == 0 else "FAILURE"]
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in ran.stdout + ran.stderr
