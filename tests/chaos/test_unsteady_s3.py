"""A store that refuses every fifth request: the run finishes all the same, with the same tables."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from datus2_ray.store import s3, storage


@pytest.mark.slow
def test_a_run_survives_a_store_that_refuses_every_fifth_request(
    command: Callable[..., subprocess.Popen[str]],
    faulty: Callable[..., AbstractContextManager[str]],
    bucket: str,
    scenes: Path,
    hashes: Callable[[str], dict[str, str]],
    undisturbed: dict[str, str],
) -> None:
    s3.open_bucket.cache_clear()
    for file in scenes.rglob("*"):
        if file.is_file():
            name = file.relative_to(scenes).as_posix()
            storage.write_bytes(f"s3://{bucket}/scenes/{name}", file.read_bytes())
    refused = []

    def fault(number: int, method: str) -> tuple[int, str] | None:
        if number % 5 == 0:
            refused.append(method)
            return 503, "SlowDown"
        return None

    with faulty(fault) as address:
        process = command(f"s3://{bucket}/scenes", f"s3://{bucket}/run", AWS_ENDPOINT_URL=address)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert len(refused) > 50
    assert {"GET", "PUT"} <= set(refused)
    assert hashes(f"s3://{bucket}/run") == undisturbed
