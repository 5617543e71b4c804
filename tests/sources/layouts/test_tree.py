from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from datus2_ray.sources.layouts.tree import Tree

paths = st.lists(
    st.lists(st.sampled_from(["a", "b", "a b", "a.x", "é"]), min_size=1, max_size=4).map("/".join), unique=True
)


@given(paths, st.sampled_from(["", "a", "a/b", "b", "a b", "a.x/a"]))
def test_files_below_a_folder_are_those_that_begin_with_it(files: list[str], folder: str) -> None:
    expected = sorted(path for path in files if not folder or path.startswith(f"{folder}/"))
    assert Tree(files).below(folder) == expected
    if folder:
        within = Tree(files).within(f"{folder}/")
        assert within.files == [path[len(folder) + 1 :] for path in expected]


@given(paths, st.sampled_from(["a", "a/b", "b"]))
def test_roots_are_the_folders_around_one(files: list[str], folder: str) -> None:
    parents = {path.rpartition("/")[0] for path in files}
    every = {"/".join(parent.split("/")[:end]) for parent in parents for end in range(1, parent.count("/") + 2)}
    expected = {path[: -len(folder)] for path in every if f"/{path}".endswith(f"/{folder}")}
    assert set(Tree(files).roots(folder)) == expected


def test_hidden_files_are_left_out() -> None:
    assert Tree([".a/b.png", "x/.b.png", "__MACOSX/c.png", "x/c.png", "x..y.png"]).files == ["x..y.png", "x/c.png"]
