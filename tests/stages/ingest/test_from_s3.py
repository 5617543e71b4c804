"""Ingest of images in a bucket whose credentials expire on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.run import Run
from datus2_ray.errors import DatusError
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.store import folders, s3, storage
from datus2_ray.store.facts import Ingested


@pytest.mark.parametrize("answer", [(400, "ExpiredToken"), (403, "ExpiredTokenException")])
def test_credentials_that_expire_end_in_one_line_and_what_is_done_is_kept(
    open_here: Callable[..., Run],
    scenes: Path,
    bucket: str,
    faulty: Callable[..., AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, str],
) -> None:
    for file in sorted((scenes / "images").iterdir())[:8]:
        storage.write_bytes(f"s3://{bucket}/set/{file.name}", file.read_bytes())
    run = open_here(f"s3://{bucket}/set", "ingest.images_per_part=2", clusters=2)
    asked: list[str] = []

    def expire(number: int, method: str) -> tuple[int, str] | None:
        asked.append(method)
        return answer if number > 5 else None

    with faulty(expire) as address, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        s3.open_bucket.cache_clear()
        with pytest.raises(DatusError, match=r"the credentials have expired[;,] log in again") as caught:
            execute_stage(run, INGEST)
    assert "\n" not in str(caught.value)
    s3.open_bucket.cache_clear()
    folder = next(entry.path.split("/")[0] for entry in folders.list_files(run.folder.path("ingest")))
    kept = folders.list_names(run.folder.path("ingest", folder))
    assert 0 < len([name for name in kept if name.startswith("part-")]) < 4
    commit = execute_stage(run, INGEST).commit(Ingested)
    assert (commit.rows_out, commit.rows_quarantined) == (8, 0)
