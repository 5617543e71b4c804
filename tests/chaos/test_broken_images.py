"""A tenth of the images is broken, each in one of ten ways: the others are done, the broken accounted for."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datus2_ray.commands.export import export
from datus2_ray.commands.load import load as load_run
from datus2_ray.commands.predict import predict
from datus2_ray.commands.relabel import relabel
from datus2_ray.commands.run import run
from datus2_ray.config.load import RunConfig, load
from datus2_ray.errors import DatusError
from datus2_ray.explore.prepare import prepare
from datus2_ray.store import parquet
from tests.in_process import commands_without_ray


def encode(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG that says of itself to be of 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def broken_in_ten_ways(image: Image.Image) -> dict[str, bytes]:
    jpeg, png = encode(image, "JPEG"), encode(image, "PNG")
    return {
        "empty": b"",
        "text": b"this is no picture",
        "zeros": bytes(4000),
        "truncated-jpeg": jpeg[: len(jpeg) // 2],
        "truncated-png": png[: len(png) // 2],
        "header-only": jpeg[:20],
        "dot": encode(image.resize((1, 1)), "PNG"),
        "thin": encode(image.resize((64, 3)), "PNG"),
        "bomb": bomb(),
        "archive": b"PK\x03\x04" + jpeg,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(180):
        image = Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
        (folder / f"image-{number:03d}.jpg").write_bytes(encode(image, "JPEG"))
    for name, data in broken_in_ten_ways(image).items():
        for copy in range(2):
            (folder / f"image-{rng.integers(180):03d}-{name}-{copy}.jpg").write_bytes(data)
    return folder


def settings(source: Path, out: Path, max_error_rate: float) -> RunConfig:
    flags = {
        "source": str(source), "out": str(out), "clusters": 3, "max_error_rate": max_error_rate, "no_refine": True,
        "backbone": "untrained:vit_tiny_patch16_224",
    }  # fmt: skip
    small = ("discover.input_size=64", "discover.tau=0", "discover.descriptor=tokens", "cluster.restarts=3")
    return load(flags, preset="paper", assignments=small)


def test_a_tenth_in_quarantine_and_the_rest_done(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands_without_ray(monkeypatch)
    summary = run(settings(source, tmp_path / "run", max_error_rate=0.2))
    assert (summary["images"], summary["quarantined"]) == (180, 20)
    rows = parquet.read_table(str(tmp_path / "run" / "quarantine.parquet")).to_pylist()
    assert {row["image_id"].split("-", 2)[2].rsplit("-", 1)[0] for row in rows} == set(
        broken_in_ten_ways(Image.new("RGB", (9, 9)))
    )
    assert all(row["message"] and row["kind"] and row["stage"] == "ingest" for row in rows)
    (own,) = (tmp_path / "run").glob("ingest/*/_quarantine.parquet")
    assert parquet.read_table(str(own)).to_pylist() == rows
    masks = [parquet.read_table(str(file)) for file in (tmp_path / "run").glob("label/*/part-*")]
    assert sum(len(table) for table in masks) == 180

    with pytest.raises(DatusError, match=r"ingest: \d+ of 200 images cannot be used, more than --max-error-rate 0.05"):
        run(settings(source, tmp_path / "strict", max_error_rate=0.05))


@pytest.mark.parametrize("labelled", [False, True])
def test_a_part_without_a_usable_image_is_passed_over(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelled: bool
) -> None:
    commands_without_ray(monkeypatch)
    source = tmp_path / "in"
    shutil.copytree(scenes, source, ignore=None if labelled else lambda folder, names: {"masks"} & set(names))
    images = sorted((source / "images").iterdir())
    for image in images[4:8]:  # a part in the middle, and the last one, which is of one image
        image.write_bytes(b"this is no picture")
    for image in images[17:]:
        image.unlink()
        (source / "masks" / f"{image.stem}.png").unlink(missing_ok=True)
    images[16].write_bytes(b"")
    flags = {"source": str(source), "out": str(tmp_path / "run"), "clusters": 3, "max_error_rate": 0.5}
    small = ("ingest.images_per_part=4", "discover.input_size=64", "discover.tau=0", "cluster.fine=12")
    summary = run(load(flags, assignments=small))
    assert (summary["images"], summary["quarantined"]) == (12, 5)
    assert bool(summary["metrics"]) == labelled

    # An earlier version kept such parts, and could not go on after them.
    (commit,) = (tmp_path / "run").glob("ingest/*/_COMMIT.json")
    kept = json.loads(commit.read_text())
    empty = {"part-000001.parquet", "part-000004.parquet"}
    assert not empty & set(kept["parts"])
    commit.write_text(json.dumps({**kept, "parts": {**kept["parts"], **dict.fromkeys(empty, 0)}}))
    assert run(load(flags, assignments=(*small, "discover.tau=1")))["images"] == 12

    assert relabel(str(tmp_path / "run"), 2)["images"] == 12
    loaded = load_run(str(tmp_path / "run"))
    assert len(loaded.images()) == 12
    assert len(loaded.segments()) == sum(loaded.images()["segments"].to_pylist())
    prepare(loaded.folder)
    files = Path(export(str(tmp_path / "run"), "coco"))
    assert len(json.loads(next(files.rglob("*.json")).read_text())["images"]) == 12
    predict(str(tmp_path / "run"), str(source), str(tmp_path / "masks"), max_error_rate=0.5)
    assert len([*(tmp_path / "masks").rglob("*.png")]) == 12
