from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datus2_ray.config import load
from datus2_ray.errors import UsageError
from datus2_ray.sources import look
from datus2_ray.sources.list_source import list_source
from datus2_ray.sources.listing import Listing
from datus2_ray.store import storage
from tests.core.images.files import encoded, picture

JPEG = encoded(picture(), "JPEG")


def listed(folder: Path | str, **flags: Any) -> Listing:
    return list_source(load({"source": str(folder), "out": "unused", "clusters": 3, **flags}))


def ids_of(listing: Listing) -> list[str]:
    return [image_id for part in listing.parts.values() for image_id in part["image_id"]]


def test_content_decides_where_the_name_does_not(tmp_path: Path) -> None:
    images = ("a", "b.JFIF", "c.jpg?w=800", "d.jpg.1", "e.php", "f.dat", "g.JPG", "h.HEIC")
    for name in images:
        (tmp_path / name).write_bytes(JPEG)
    others = {"Makefile": look.CONTENT, "x.dat": look.CONTENT, "y.txt": look.NAMED, "z.DNG": look.NAMED}
    for name in others:
        (tmp_path / name).write_bytes(b"a text, whatever its name")
    (tmp_path / "empty").touch()
    listing = listed(tmp_path)
    assert [path for part in listing.parts.values() for path in part["image"]] == sorted(images)
    assert listing.passed_over == {**others, "empty": look.CONTENT}
    lines = look.describe_passed_over(listing.passed_over)
    assert lines == [
        "3 files, no image by its content: no suffix 2, .dat 1, for example Makefile",
        "2 files, no image by its name: .txt 1, .dng 1, for example y.txt",
    ]


def test_known_suffixes_are_trusted_and_no_such_file_is_opened(tmp_path: Path, opened: list[str]) -> None:
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(b"nobody looks")
        (tmp_path / f"{number}.json").write_bytes(b"{}")
    listing = listed(tmp_path)
    assert listing.images == 20
    assert opened == []
    assert set(listing.passed_over) == {f"{number}.json" for number in range(20)}


@pytest.mark.parametrize(("content", "images"), [(JPEG, 90), (b"text", 0)])
def test_of_many_alike_some_are_looked_into(
    content: bytes, images: int, tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "PROBE", 9)
    for number in range(90):
        (tmp_path / f"{number:04d}").write_bytes(content)
    (tmp_path / "one.jpg").write_bytes(JPEG)
    listing = listed(tmp_path)
    assert listing.images == images + 1
    assert len(opened) < 30
    assert len(listing.passed_over) == 90 - images
    if not images:
        assert set(listing.passed_over.values()) == {look.CONTENT, look.UNSEEN}


def test_where_they_differ_all_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "PROBE", 9)
    for number in range(90):
        (tmp_path / f"{number:04d}").write_bytes(b"text" if number % 7 == 0 else JPEG)
    listing = listed(tmp_path)
    assert set(listing.passed_over) == {f"{number:04d}" for number in range(0, 90, 7)}
    assert listing.images == 90 - 13


def test_what_a_layout_does_not_use_is_passed_over(scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(scenes, tmp_path / "set")
    (tmp_path / "set" / "other").mkdir()
    (tmp_path / "set" / "other" / "teaser.jpg").write_bytes(JPEG)
    (tmp_path / "set" / "masks" / "nobody.png").write_bytes(encoded(picture()[:, :, 0]))
    listing = listed(tmp_path / "set", dataset="demo")
    assert listing.passed_over == {"other/teaser.jpg": look.UNUSED, "masks/nobody.png": look.UNUSED}
    for flags in ({"limit": 3}, {"masks": "none"}):
        assert listed(tmp_path / "set", dataset="demo", **flags).passed_over == listing.passed_over


def test_a_folder_without_images_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.nef").touch()
    (tmp_path / "b").write_bytes(b"text")
    with pytest.raises(UsageError, match=r"passed over 1 file, no image by its name: \.nef 1"):
        listed(tmp_path)


def test_every_page_of_a_stack_is_an_image(tmp_path: Path) -> None:
    pages = [Image.fromarray(picture() // np.uint8(number + 1)) for number in range(5)]
    for name in ("a.tif", "b"):
        pages[0].save(tmp_path / name, "TIFF", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "c.tif")
    listing = listed(tmp_path)
    expected = [f"{name}/page-{number:04d}" for name in "ab" for number in range(1, 6)] + ["c"]
    assert ids_of(listing) == expected
    assert ids_of(listed(tmp_path, limit=7)) == expected[:7]
    assert listing.parts["part-000000.parquet"]["piece"] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, -1]


def test_a_part_ends_with_its_bytes_and_pages_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.fromarray(picture())] * 40
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for number in range(6):
        (tmp_path / f"b{number}.jpg").write_bytes(JPEG)
    assert list(listed(tmp_path).counts.values()) == [40, 6]
    monkeypatch.setattr("datus2_ray.sources.list_files.PART_BYTES", 2 * len(JPEG))
    assert list(listed(tmp_path).counts.values()) == [40, 2, 2, 2]


def test_files_in_a_bucket_are_told_by_their_first_bytes(bucket: str) -> None:
    source = f"s3://{bucket}/in"
    page = Image.fromarray(picture())
    storage.write_bytes(f"{source}/a", JPEG)
    storage.write_bytes(f"{source}/b", b"text")
    storage.write_bytes(f"{source}/c.tif", encoded(page, "TIFF", save_all=True, append_images=[page]))
    listing = listed(source)
    assert ids_of(listing) == ["a", "c/page-0001", "c/page-0002"]
    assert listing.passed_over == {"b": look.CONTENT}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of files that are opened for a look."""
    names: list[str] = []
    read_at: Callable[[str], Any] = storage.read_at

    def noted(uri: str) -> Any:
        names.append(uri)
        return read_at(uri)

    monkeypatch.setattr(storage, "read_at", noted)
    return names
