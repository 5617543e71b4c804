"""Many paths, a few in memory at a time: what a list of texts and a dict would say."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources import blocks, sorting
from datus2_ray.sources.files import Files
from datus2_ray.sources.paths import Paths
from datus2_ray.store.walk import FileEntry

texts = st.text(st.characters(codec="utf-8"), max_size=4)
chunks = st.sampled_from([1, 2, 3, 1 << 14])


@contextmanager
def small(chunk: int) -> Iterator[None]:
    """Make blocks of a few rows, which all go to a file, and runs of a few of them."""
    with pytest.MonkeyPatch.context() as patch:
        if chunk < 100:
            patch.setattr(blocks, "CHUNK", chunk)
            patch.setattr(blocks, "HELD_BYTES", 0)
            patch.setattr(sorting, "ROWS_SORTED", 4 * chunk)
            patch.setattr(sorting, "ROWS_MERGED", chunk)
        yield


@given(st.lists(texts, max_size=40), chunks, st.data())
def test_paths_are_a_sequence_of_texts(names: list[str], chunk: int, data: st.DataObject) -> None:
    with small(chunk):
        found = Paths.of(iter(names))
        assert found == names
        assert len(found) == len(names)
        assert [found[at] for at in range(-len(names), len(names))] == [*names, *names]
        assert found[1:7] == names[1:7]
        assert found[3:][1:4] == names[3:][1:4]
        assert found[1:30:3] == names[1:30:3]
        assert found[2:].where(np.array([len(name) > 1 for name in names[2:]], bool)) == [
            name for name in names[2:] if len(name) > 1
        ]
        assert found[1:].sorted() == sorted(names[1:])
        assert found.is_sorted() == (names == sorted(names))
        if len(names) > 2:
            within = found[2:]
            positions = np.array(data.draw(st.lists(st.integers(0, len(within) - 1), max_size=50)), np.int64)
            assert list(within.at(positions)) == within.take(positions) == [names[2:][at] for at in positions]
            assert within.take(np.array([-1, 0])) == ["", names[2]]
            assert within.take(np.array([-1, -1])) == ["", ""]


@given(st.sets(texts.filter(bool), max_size=40), st.lists(texts, max_size=40), chunks, st.integers(0, 9))
def test_paths_are_found_wherever_they_are(names: set[str], wanted: list[str], chunk: int, start: int) -> None:
    held = sorted(names)[start:]
    with small(chunk):
        paths = Paths.of(sorted(names))[start:]
        assert paths.find(Paths.of(wanted)).tolist() == [held.index(name) if name in held else -1 for name in wanted]
        assert [paths.place(name) for name in wanted] == [bisect_left(held, name) for name in wanted]
        with_gaps = paths.take(np.array([-1, *range(len(held)), -1]))
        assert paths.find(with_gaps).tolist() == [-1, *range(len(held)), -1]


@given(st.sets(texts, max_size=60), chunks, st.randoms(use_true_random=False))
def test_files_are_sorted_with_what_is_known_of_them(names: set[str], chunk: int, order: random.Random) -> None:
    entries = [FileEntry(name, number, 10**18 + number) for number, name in enumerate(sorted(names))]
    mixed = order.sample(entries, len(entries))
    with small(chunk):
        files = Files.of(iter(mixed))
        assert list(files) == entries
        assert files.paths == sorted(names)
        assert files[1:3] == entries[1:3]
        assert [files[at] for at in range(len(entries))] == entries
        if entries:
            assert files.stamps(np.array([-1, 0])) == [(0, 0), (0, 10**18)]


def test_reading_in_order_is_shown() -> None:
    shown: list[int] = []
    found = Paths.of(map(str, range(40_000)), shown.append)
    assert shown == []
    assert sum(1 for _ in found) == 40_000
    assert sum(shown) == 40_000
    assert len(shown) > 2
