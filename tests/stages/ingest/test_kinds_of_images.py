"""Kinds of images beside photographs of 8 bits: stacks, animations, deep ones, and what is said of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datus2_ray.commands.plan import list_shown
from datus2_ray.config import load
from datus2_ray.core.images.labels import decode_labels
from datus2_ray.engine.execute import execute_stage
from datus2_ray.engine.machines import Machines, Node
from datus2_ray.engine.run import Run, open_run
from datus2_ray.sources.images_table import ImagesTable
from datus2_ray.sources.list_source import list_for_shards, list_source
from datus2_ray.stages.ingest.ingest import INGEST
from datus2_ray.stages.ingest.to_shards import SHARDS
from datus2_ray.store import parquet, storage
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Ingested, Sharded
from datus2_ray.store.run_folder import PASSED_OVER, QUARANTINE
from tests.core.images.files import encoded, picture, png16

Open = Callable[..., Run]


def ingest(run: Run) -> Commit[Ingested]:
    return execute_stage(run, INGEST).commit(Ingested)


@pytest.fixture
def open_set(open_here: Open) -> Open:
    """Return a function that opens a run over images without classes."""
    return lambda source, *assignments, **flags: open_here(source, *assignments, clusters=3, **flags)


def pixels_of(commit: Commit[Ingested]) -> dict[str, np.ndarray]:
    table = ImagesTable.of(commit)
    rows = [row for part in commit.parts for row in table.read(part, ["image_id", "image"]).to_pylist()]
    return {row["image_id"]: table.decode(row["image"]) for row in rows}


def faults_of(commit: Commit[Ingested]) -> dict[str, str]:
    return {row["image_id"]: row["kind"] for row in parquet.read_table(commit.path(QUARANTINE)).to_pylist()}


def test_pages_of_a_stack_with_pages_of_masks(tmp_path: Path, open_here: Open) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    pages = [picture() // np.uint8(number + 1) for number in range(3)]
    masks = [np.full((40, 56), number, np.uint8) for number in range(3)]
    for folder, stack in (("images", pages), ("masks", masks)):
        first, *others = map(Image.fromarray, stack)
        first.save(tmp_path / "in" / folder / "scan.tif", save_all=True, append_images=others)
    commit = ingest(open_here(tmp_path / "in"))
    found = pixels_of(commit)
    assert list(found) == [f"scan/page-000{number}" for number in (1, 2, 3)]
    for pixels, page in zip(found.values(), pages, strict=True):
        np.testing.assert_array_equal(pixels, page)
    stored = parquet.read_table(commit.path("part-000000.parquet"))["mask"].to_pylist()
    assert [int(decode_labels(mask).max()) for mask in stored] == [0, 1, 2]


def test_the_first_frame_and_other_colours_are_said(
    tmp_path: Path, open_set: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    frames = [Image.fromarray(picture()), Image.fromarray(picture() // 2)]
    for name, codec in (("a.gif", "GIF"), ("b.webp", "WEBP"), ("c.png", "PNG"), ("d.avif", "AVIF")):
        frames[0].save(source / name, codec, save_all=True, append_images=frames[1:])
    (source / "e.jpg").write_bytes(encoded(picture(), "JPEG"))
    (source / "f.png").write_bytes(encoded(picture(), icc_profile=b"no profile" * 30))
    commit = ingest(open_set(source))
    notes = {"colour profile that cannot be used": 1, "the first of several frames taken": 4}
    assert (commit.rows_out, commit.facts.notes) == (6, notes)
    assert "4 images: the first of several frames taken" in capsys.readouterr().err


def test_deep_images_share_the_range_of_the_set(tmp_path: Path, open_set: Open) -> None:
    source = tmp_path / "in"
    source.mkdir()
    grey = picture()[:, :, 0].astype(np.uint16) * 16  # 12 bits in 16
    (source / "bright.png").write_bytes(encoded(grey))
    (source / "dark.tif").write_bytes(encoded(grey // 4, "TIFF"))
    (source / "colour.png").write_bytes(png16(picture().astype(np.uint16) * 16))
    (source / "usual.jpg").write_bytes(encoded(picture(), "JPEG"))
    commit = ingest(open_set(source))
    assert commit.facts.ranges == (("uint16", 0.0, 255.0 * 16),)
    found = pixels_of(commit)
    np.testing.assert_array_equal(found["colour"], picture())
    np.testing.assert_array_equal(found["bright"], np.repeat(picture()[:, :, :1], 3, axis=2))
    assert np.abs(found["dark"].astype(int) - found["bright"] // 4).max() <= 1
    (note,) = commit.facts.notes
    assert note == "values of type uint16, of which 0 is shown black and 4080 white"
    given = ingest(open_set(source, "ingest.stretch={uint16: [0, 8160]}", name="given"))
    assert np.abs(pixels_of(given)["bright"].astype(int) - found["bright"] // 2).max() <= 1
    assert given.fingerprint != commit.fingerprint


def test_shards_keep_the_ranges_of_their_images(tmp_path: Path, open_set: Open) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in (1, 2, 4):
        (source / f"{number}.png").write_bytes(encoded(picture()[:, :, 0].astype(np.uint16) * number))
    # Which bands are shown is for the runs to choose.
    run = open_set(source, "ingest.bands=[3]", name="shards")
    shards = execute_stage(run.configured(run.config, list_for_shards(run.config)), SHARDS).commit(Sharded)
    packed = ingest(open_set(shards.uri, name="packed"))
    plain = ingest(open_set(source, name="plain"))
    assert packed.facts.ranges == plain.facts.ranges == (("uint16", 0.0, 1020.0),)
    for (_, from_shards), (_, from_files) in zip(
        sorted(pixels_of(packed).items()), sorted(pixels_of(plain).items()), strict=True
    ):
        np.testing.assert_array_equal(from_shards, from_files)
    swapped = ingest(open_set(shards.uri, "ingest.bands=1", name="bands"))
    assert swapped.facts.ranges == plain.facts.ranges


def test_what_an_extra_reads_is_in_quarantine_without_it(
    tmp_path: Path, open_set: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.jpg").write_bytes(encoded(picture(), "JPEG"))
    (source / "b.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99)
    (source / "c.jxl").write_bytes(b"\xff\x0a" + b"\0" * 99)
    unsupported = sys.modules["datus2_ray.core.images.opening"]._UNSUPPORTED  # type: ignore[attr-defined]
    monkeypatch.setitem(unsupported, "HEIC", "pip install 'datus2-ray[heic]'")
    commit = ingest(open_set(source, max_error_rate=1))
    assert faults_of(commit) == {"b": "unsupported", "c": "unsupported"}


def test_the_largest_size_is_a_setting(tmp_path: Path, open_set: Open) -> None:
    source = tmp_path / "in"
    source.mkdir()
    Image.new("RGB", (1200, 1000), (9, 90, 200)).save(source / "large.png")
    Image.new("RGB", (1000, 1000), (9, 90, 200)).save(source / "small.png")
    commit = ingest(open_set(source, "ingest.max_megapixels=1", max_error_rate=1))
    assert faults_of(commit) == {"large": "too_large"}
    message = parquet.read_table(commit.path(QUARANTINE))["message"][0].as_py()
    assert message == "1200x1000 pixels, more than 1 megapixels; --set ingest.max_megapixels=N allows more"
    assert ingest(open_set(source, name="all")).rows_out == 2


def test_files_that_are_passed_over_are_said_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a").write_bytes(encoded(picture(), "JPEG"))
    for name in ("b.txt", "c.cr2", "d"):
        (source / name).write_bytes(b"text")
    config = load({"source": str(source), "out": str(tmp_path / "run"), "clusters": 3})

    def stamps() -> list[int]:
        with open_run(config, "run", list_shown(config), Machines((Node(4, 0, 10**9),))) as run:
            uri = run.folder.path(PASSED_OVER)
        assert parquet.read_table(uri).to_pylist() == [
            {"path": "b.txt", "reason": "no image by its name"},
            {"path": "c.cr2", "reason": "no image by its name"},
            {"path": "d", "reason": "no image by its content"},
        ]
        return [Path(uri).stat().st_mtime_ns]

    first = stamps()
    assert "passed over 2 files, no image by its name: .txt 1, .cr2 1" in capsys.readouterr().err
    assert stamps() == first
    for name in ("b.txt", "c.cr2", "d"):
        (source / name).unlink()
    with open_run(config, "run", list_source(config), Machines((Node(4, 0, 10**9),))) as run:
        assert not storage.exists(run.folder.path(PASSED_OVER))
