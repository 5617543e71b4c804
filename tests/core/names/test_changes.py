"""Every edit is a change that can be written, applied and undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.core.names import edits
from datus2_ray.core.names.changes import Change
from datus2_ray.core.names.names import Names
from datus2_ray.errors import UsageError

TITLES = ("road", "car", "sky", "Tree")
title, clusters = st.sampled_from(TITLES), st.lists(st.integers(0, 9), max_size=4)
segments = st.dictionaries(st.sampled_from(["a", "b/ü"]), st.lists(st.integers(0, 5), max_size=3), max_size=2)
Edit = Callable[[Names], Names]


def skipping(edit: Edit) -> Edit:
    """An edit of a class that is not there changes nothing."""

    def edited(names: Names) -> Names:
        try:
            return edit(names)
        except UsageError:
            return names

    return edited


edit = st.one_of(
    st.builds(lambda c, t: lambda names: edits.name_clusters(names, c, t), clusters, st.none() | title),
    st.builds(lambda s, t: lambda names: edits.name_segments(names, s, t), segments, st.none() | title),
    st.builds(lambda t, i: lambda names: edits.add_class(names, t, ignore=i), title, st.booleans()),
    st.builds(lambda t, n: skipping(lambda names: edits.change_class(names, t, rename=n)), title, title),
    st.builds(lambda t, i: skipping(lambda names: edits.change_class(names, t, ignore=i)), title, st.booleans()),
    st.builds(lambda t: skipping(lambda names: edits.change_class(names, t, colour="#123456")), title),
    st.builds(lambda t: skipping(lambda names: edits.remove_class(names, t)), title),
    st.builds(lambda a, b: skipping(lambda names: edits.join_classes(names, a, b)), title, title),
)


@given(st.lists(edit, max_size=8))
def test_changes_are_applied_written_and_undone(all_edits: list[Edit]) -> None:
    states = [Names("c")]
    for one in all_edits:
        states.append(one(states[-1]))
    for before, after in pairwise(states):
        change = Change.between(before, after)
        assert change.apply(before) == after
        assert change.inverse().apply(after) == before
        assert change.inverse().inverse() == change
        assert change.is_empty == (before == after)
        assert Change.from_json(json.loads(json.dumps(change.to_json()))) == change
    whole = Change.between(states[0], states[-1])
    assert whole.apply(states[0]) == states[-1]


def named() -> Names:
    names = edits.name_clusters(Names("c"), [0, 1], "road")
    names = edits.name_clusters(names, [2], "car")
    return edits.name_segments(names, {"a": [3], "b": [0]}, "sky")


def titles(names: Names) -> tuple[dict[int, str], dict[str, dict[int, str]]]:
    known = [found.name for found in names.classes]
    segments = {image: {n: known[c] for n, c in found.items()} for image, found in names.segments.items()}
    return {n: known[c] for n, c in names.clusters.items()}, segments


def test_what_each_edit_does() -> None:
    names = named()
    assert titles(names) == ({0: "road", 1: "road", 2: "car"}, {"a": {3: "sky"}, "b": {0: "sky"}})
    assert len({found.colour for found in names.classes}) == 3
    assert titles(edits.name_clusters(names, [1, 2], None)) == ({0: "road"}, titles(names)[1])
    assert titles(edits.name_segments(names, {"a": [3, 4]}, None)) == (titles(names)[0], {"b": {0: "sky"}})
    renamed = edits.change_class(names, "road", rename="street")
    assert titles(renamed)[0] == {0: "street", 1: "street", 2: "car"}
    assert renamed.classes[0].colour == names.classes[0].colour
    removed = edits.remove_class(names, "road")
    assert titles(removed) == ({2: "car"}, titles(names)[1])
    assert [found.name for found in removed.classes] == ["car", "sky"]
    joined = edits.join_classes(names, "sky", "road")
    assert titles(joined) == (titles(names)[0], {"a": {3: "road"}, "b": {0: "road"}})
    assert edits.join_classes(names, "road", "ROAD") == names
    assert edits.change_class(names, "car", ignore=True).classes[1].ignore
    with pytest.raises(UsageError, match="'road' and 'Road' differ only in case"):
        edits.change_class(names, "car", rename="Road")


def test_a_change_of_other_names_is_refused() -> None:
    names = named()
    change = Change.between(names, edits.name_clusters(names, [0], "car"))
    with pytest.raises(UsageError, match="made from other names"):
        change.apply(edits.name_clusters(names, [0], "sky"))
    # What is elsewhere does not matter.
    elsewhere = edits.name_clusters(names, [5], "sky")
    assert titles(change.apply(elsewhere))[0] == {0: "car", 1: "road", 2: "car", 5: "sky"}
    renaming = Change.between(names, edits.change_class(names, "car", rename="cars"))
    with pytest.raises(UsageError, match="made from other names"):
        renaming.apply(edits.add_class(names, "tree"))


def test_only_what_differs_is_written() -> None:
    names = named()
    written = Change.between(names, edits.name_clusters(names, [7], "car")).to_json()
    assert written == {"clusters": {"7": (None, "car")}}
