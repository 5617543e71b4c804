"""Listing many files: the same whether all is in memory or in blocks of a few rows in temporary files."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.config import load
from datus2_ray.errors import UsageError
from datus2_ray.sources import blocks, list_files, sorting
from datus2_ray.sources.files import Files
from datus2_ray.sources.layouts import hashes
from datus2_ray.sources.layouts.layout import Inside
from datus2_ray.sources.place import Place
from datus2_ray.store.walk import FileEntry

folders = st.lists(st.sampled_from(["images", "masks", "a", "a-b", "gt", "labels", "x.y"]), max_size=3)
stems = st.sampled_from(["1", "a", "a_mask", "a_gt", "frame-1", "frame-1-b", "frame", "A", "é", "a b", "a.jpg", "%"])
suffixes = st.sampled_from(["png", "jpg", "JPG", "tif", "txt"])
trees = st.sets(st.builds(lambda path, stem, end: "/".join([*path, f"{stem}.{end}"]), folders, stems, suffixes))
looks = st.sampled_from(["map", "grey", "flat", "picture", None])


@given(trees, st.data(), st.randoms(use_true_random=False))
def test_blocks_do_not_change_a_listing(names: set[str], data: st.DataObject, order: random.Random) -> None:
    entries = [FileEntry(name, len(name) * number, 10**18 + number) for number, name in enumerate(sorted(names))]
    look = {name: data.draw(looks) for name in sorted(names)}
    pages = {
        name: ["one", "two", "three"] for name in sorted(names) if name.endswith("tif") and data.draw(st.booleans())
    }
    settings = {
        "limit": data.draw(st.none() | st.integers(1, 9)),
        "ingest": {
            "images_per_part": data.draw(st.integers(1, 9)),
            "masks": data.draw(st.sampled_from([None, "none", "masks", "*_gt.*"])),
        },
    }

    def listed() -> Any:
        config = load({"source": "/none", "out": "/none-run", "clusters": 2, **settings})
        try:
            found = list_files.list_files(
                config, Place("/none", Files.of(order.sample(entries, len(entries))), ()), True
            )
        except UsageError as error:
            return str(error)
        order_of = list(found.passed_over.items())
        return {**vars(found), "parts": dict(found.parts), "passed_over": order_of}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_files, "inside_of", lambda *_: Inside(lambda paths: [look[path] for path in paths]))
        patch.setattr(list_files, "check_masks", lambda masks, *_: f"read {[name for name, _ in masks]}")
        patch.setattr(list_files, "find_pieces", lambda *_: pages)
        whole = listed()
        patch.setattr(blocks, "HELD_BYTES", 0)
        for module, name, small in (
            (blocks, "CHUNK", 3),
            (sorting, "ROWS_SORTED", 8), (sorting, "ROWS_MERGED", 2), (hashes, "MAX_BITS", 3),
        ):  # fmt: skip
            patch.setattr(module, name, small)
        assert listed() == whole


def test_memory_does_not_grow_with_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, small in (
        (blocks, "HELD_BYTES", 10**5), (blocks, "CHUNK", 1 << 10),
        (sorting, "ROWS_SORTED", 1 << 12), (sorting, "ROWS_MERGED", 1 << 8),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, small)
    monkeypatch.setattr(list_files, "inside_of", lambda *_: Inside(lambda paths: [None for _ in paths]))
    config = load({"source": "/none", "out": "/none-run", "clusters": 2, "ingest": {"images_per_part": 256}})

    def peak(count: int) -> int:
        numbers = (number * 7919 % count for number in range(count))
        entries = (FileEntry(f"camera/day-{at // 100:04d}/frame-{at:08d}.jpg", at, 10**18 + at) for at in numbers)
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        found = list_files.list_files(config, Place("/none", Files.of(entries), ()), True)
        most, held = tracemalloc.get_traced_memory()[1], pa.total_allocated_bytes() - before
        tracemalloc.stop()
        assert found.images == count
        return most + held

    peak(1000)
    # Path, id, size and time of a file take 120 bytes. Positions, slots of hashes and the counts of parts are left.
    assert peak(24_000) - peak(12_000) < 12_000 * 40
