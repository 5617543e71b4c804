"""Images of samples: what a list of them all would say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.views import tiles
from datus2_ray.sources.file_parts import Rows, file_name, piece_id
from datus2_ray.sources.paths import Paths


@given(st.lists(st.integers(1, 4), max_size=30), st.none() | st.integers(0, 40), st.integers(0, 20), st.integers(0, 40))
def test_every_image_is_of_its_sample(counts: list[int], limit: int | None, start: int, more: int) -> None:
    pieces = {str(at): ["piece"] * count for at, count in enumerate(counts) if count > 1}
    rows = Rows.of(Paths.of(map(str, range(len(counts)))), pieces, limit)
    every = [(at, number if count > 1 else -1) for at, count in enumerate(counts) for number in range(count)][:limit]
    assert len(rows) == len(every)
    samples, numbers = rows.read(start, start + more)
    assert list(zip(samples.tolist(), numbers.tolist(), strict=True)) == every[start : start + more]


def test_names_of_pieces_are_distinct_and_those_of_files_are_their_paths() -> None:
    for names, expected in (
        (["page-0001", "page-12345"], ["x/a/page-0001.TIF", "x/a/page-12345.TIF"]),
        (tiles.names((1, 2)), ["x/a/row-00-column-00.png", "x/a/row-00-column-01.png"]),
    ):
        assert [file_name(piece_id("x/a", names, at), "in/x/a.TIF") for at in range(2)] == expected


@pytest.mark.parametrize(
    ("image_id", "file", "expected"),
    [
        ("x/a", "in/x/a.tif", "in/x/a.tif"),
        ("page-0001", "images/page-0001.tif", "images/page-0001.tif"),
        ("page-0001/page-0001", "page-0001/page-0001.tif", "page-0001/page-0001.tif"),
        ("page-0001/page-0001", "page-0001.tif", "page-0001/page-0001.tif"),
        ("a%25b/page-0001", "a%b/page-0001.tif", "a%b/page-0001.tif"),
        ("stack/page-0001", "stack", "stack/page-0001"),
    ],
)
def test_a_file_may_be_named_like_a_piece(image_id: str, file: str, expected: str) -> None:
    assert file_name(image_id, file) == expected
