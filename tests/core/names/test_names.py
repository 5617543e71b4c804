"""Classes and what belongs to them: per fine cluster, per segment, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.names.names import NamedClass, Names, free_colour
from datus2_ray.errors import UsageError

ROAD, CAR = NamedClass("road", "#e69f00"), NamedClass("car", "#56b4e9")


def test_a_segment_has_the_class_of_its_cluster_unless_it_has_its_own() -> None:
    names = Names("c", (ROAD, CAR), {0: 0, 3: 1}, {"a": {1: 1, 2: 0}})
    assert names.of_fine(5).tolist() == [0, -1, -1, 1, -1]
    fine = np.array([0, 0, 4, 3, 1], np.int32)
    assert names.of_segments("a", fine).tolist() == [0, 1, 0, 1, -1]
    assert names.of_segments("b", fine).tolist() == [0, 0, -1, 1, -1]
    assert names.of_segments("b", fine[:0]).shape == (0,)
    assert names.of_segments("a", fine).dtype == names.of_fine(5).dtype == np.int32


def test_what_does_not_exist_is_refused() -> None:
    names = Names("c", (ROAD,), {7: 0}, {"a": {4: 0}})
    with pytest.raises(UsageError, match="fine cluster 7 is named, and there are 7: 0 to 6"):
        names.of_fine(7)
    assert names.of_fine(8)[7] == 0
    with pytest.raises(UsageError, match="image 'a' has 4 segments, and segment 4 is named"):
        names.of_segments("a", np.zeros(4, np.int32))
    with pytest.raises(UsageError, match="class 1 is not one of the 1 classes"):
        Names("c", (ROAD,), {0: 1})
    with pytest.raises(UsageError, match="class -1 is not one of"):
        Names("c", (ROAD,), {}, {"a": {0: -1}})
    with pytest.raises(UsageError, match="unknown class 'cra'; there are road"):
        names.class_id("cra")


@pytest.mark.parametrize("name", ["", " ", " road", "road\n", "a\x1b[31m", "x" * 81])
def test_a_name_is_short_printable_text(name: str) -> None:
    with pytest.raises(UsageError):
        NamedClass(name, "#000000")


@pytest.mark.parametrize("colour", ["red", "#12345", "#1234567", "#12345G", "#ABCDEF", "#000000\n"])
def test_a_colour_is_six_hexadecimal_digits(colour: str) -> None:
    with pytest.raises(UsageError, match="write it as '#rrggbb'"):
        NamedClass("road", colour)


def test_two_classes_have_different_names_and_are_found_in_any_case() -> None:
    with pytest.raises(UsageError, match="'road' and 'Road' differ only in case"):
        Names("c", (ROAD, NamedClass("Road", "#000000")))
    with pytest.raises(UsageError, match="two classes have the same name"):
        Names("c", (ROAD, ROAD))
    assert Names("c", (ROAD, CAR)).class_id("CAR") == 1


def test_names_of_another_clustering_are_refused_unless_there_are_none() -> None:
    Names("one", (ROAD,)).check_clustering("two")
    Names("one", (ROAD,), {0: 0}).check_clustering("one")
    with pytest.raises(UsageError, match=r"clustering one, and this run has two; .* --carry-over"):
        Names("one", (ROAD,), {0: 0}).check_clustering("two")


@given(st.integers(0, 30))
def test_free_colours_differ(count: int) -> None:
    classes: list[NamedClass] = []
    for number in range(count):
        classes.append(NamedClass(f"class {number}", free_colour(classes)))
    assert len({named.colour for named in classes}) == count


def test_the_fingerprint_does_not_depend_on_the_order_of_naming() -> None:
    first = Names("c", (ROAD, CAR), {0: 0, 3: 1}, {"a": {1: 1, 2: 0}, "b": {0: 0}})
    second = Names("c", (ROAD, CAR), {3: 1, 0: 0}, {"b": {0: 0}, "a": {2: 0, 1: 1}})
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != Names("c", (CAR, ROAD), {0: 0, 3: 1}, first.segments).fingerprint()
