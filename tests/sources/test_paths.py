"""Many paths in a few blocks of memory: what a list of texts and a dict would say."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources import paths
from datus2_ray.sources.paths import Files, Paths
from datus2_ray.store.walk import FileEntry

texts = st.text(st.characters(codec="utf-8"), max_size=4)


@given(st.lists(texts, max_size=40), st.data())
def test_paths_are_a_sequence_of_texts(names: list[str], data: st.DataObject) -> None:
    found = Paths.of(iter(names))
    assert found == names
    assert len(found) == len(names)
    assert [found[at] for at in range(len(names))] == names
    assert found[1:7] == names[1:7]
    assert [names[at] for at in found.order()] == sorted(names)
    if names:
        positions = np.array(data.draw(st.lists(st.integers(0, len(names) - 1), max_size=50)), np.int64)
        assert list(found.at(positions)) == found.take(positions) == [names[at] for at in positions]
        assert found.take(np.array([-1, 0])) == ["", names[0]]


@given(st.sets(texts.filter(bool), max_size=40), st.lists(texts, max_size=40), st.integers(1, 9))
def test_paths_are_found_wherever_they_are(names: set[str], wanted: list[str], chunk: int) -> None:
    held = sorted(names)
    paths.CHUNK, before = chunk, paths.CHUNK
    try:
        found = Paths.of(held).find(Paths.of(wanted))
    finally:
        paths.CHUNK = before
    assert found.tolist() == [held.index(name) if name in names else -1 for name in wanted]
    with_gaps = Paths.of(held).take(np.array([-1, *range(len(held)), -1]))
    assert Paths.of(held).find(with_gaps).tolist() == [-1, *range(len(held)), -1]


def test_files_are_sorted_with_what_is_known_of_them() -> None:
    entries = [FileEntry(f"{number % 7}/{number}", number, 10**18 + number) for number in range(100)]
    random.Random(0).shuffle(entries)
    files = Files.of(iter(entries))
    assert list(files) == sorted(entries, key=lambda entry: entry.path)
    assert files[3] == list(files)[3]
    assert list(files[90:]) == list(files)[90:]
    assert list(Files.of([])) == []


def test_reading_in_order_is_shown() -> None:
    shown: list[int] = []
    found = Paths.of(map(str, range(40_000)), shown.append)
    assert shown == []
    assert sum(1 for _ in found) == 40_000
    assert sum(shown) == 40_000
    assert len(shown) > 2
