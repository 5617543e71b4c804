"""Paths in shards: what lies below the source is read, what leads out of it only where that is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from datus2_ray.errors import ImageError
from datus2_ray.sources.shard_paths import PathReader

SHARD = "data/a.parquet"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in" / "data" / "images").mkdir(parents=True)
    (tmp_path / "in" / "images").mkdir()
    (tmp_path / "in" / "data" / "images" / "1.jpg").write_bytes(b"beside the shard")
    (tmp_path / "in" / "images" / "1.jpg").write_bytes(b"below the source")
    (tmp_path / "in" / "images" / "2.jpg").write_bytes(b"two")
    (tmp_path / "secret.jpg").write_bytes(b"outside")
    (tmp_path / "in-2").mkdir()
    (tmp_path / "in-2" / "x.jpg").write_bytes(b"a neighbour with the same beginning")
    return tmp_path / "in"


def test_paths_start_at_the_shard_and_else_at_the_source(source: Path) -> None:
    read = PathReader(str(source), outside=False).read
    assert read(SHARD, "images/1.jpg") == b"beside the shard"
    assert read(SHARD, "images/2.jpg") == read(SHARD, "../images/2.jpg") == b"two"
    assert read(SHARD, f"{source}/images/1.jpg") == b"below the source"


@pytest.mark.parametrize(
    "path", ["../../secret.jpg", "{}/../secret.jpg", "{}/../in-2/x.jpg", "/etc/passwd", "s3://b/k"]
)
def test_what_leads_out_is_not_read(path: str, source: Path) -> None:
    with pytest.raises(ImageError, match=r"not below the source; --set ingest\.outside_paths=true reads it") as caught:
        PathReader(str(source), outside=False).read(SHARD, path.format(source))
    assert caught.value.kind == "path_outside"


def test_what_leads_out_is_read_where_that_is_allowed(source: Path) -> None:
    read = PathReader(str(source), outside=True).read
    assert read(SHARD, "../../secret.jpg") == read(SHARD, f"{source.parent}/secret.jpg") == b"outside"


@pytest.mark.parametrize("path", ["images/9.jpg", "no/such/folder/1.jpg", "", "images"])
def test_a_file_that_is_not_there_is_the_row_s_fault(path: str, source: Path) -> None:
    with pytest.raises(ImageError, match=rf"{SHARD} has no bytes of it but the path {path}: cannot read") as caught:
        PathReader(str(source), outside=False).read(SHARD, path)
    assert caught.value.kind == "unreadable"
