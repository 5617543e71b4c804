"""Vectors are counted in every part, and parts read ahead come in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datus2_ray.engine.clustering.vectors import AHEAD, count_vectors, read_ahead
from datus2_ray.errors import StorageError
from tests.engine.clustering.conftest import DIGITS


@pytest.mark.parametrize("parts_here", [20, 19])
def test_vectors_are_counted_in_every_part(
    folder: str,
    counts: dict[str, int],
    open_run: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    parts_here: int,
) -> None:
    open_run(Path("unused"))
    monkeypatch.setattr("datus2_ray.engine.clustering.vectors.OWN_PARTS", parts_here)
    assert count_vectors(folder, "sizes", list(counts)) == counts
    assert sum(counts.values()) == len(DIGITS)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_parts_are_read_ahead_and_come_in_order(count: int) -> None:
    begun: list[str] = []
    parts = list(map(str, range(count)))
    read = read_ahead(lambda part: begun.append(part) or 2 * part, parts)
    for part in parts:
        assert next(read) == 2 * part
        assert len(begun) <= int(part) + 2 + AHEAD
    assert list(read) == []
    assert sorted(begun) == sorted(parts)


def test_a_part_that_cannot_be_read_ends_the_reading() -> None:
    begun: list[int] = []

    def read_part(part: str) -> str:
        begun.append(int(part))
        if part == "2":
            raise StorageError("damaged")
        return part

    read = read_ahead(read_part, list(map(str, range(100))))
    assert [next(read), next(read)] == ["0", "1"]
    with pytest.raises(StorageError, match="damaged"):
        next(read)
    assert max(begun) <= 2 + 1 + AHEAD
