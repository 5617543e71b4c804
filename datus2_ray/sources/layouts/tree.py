"""The files of a source by their folders, so that many layouts can look for theirs in one listing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from datus2_ray.sources.paths import Paths


class Tree:
    """The files of a listing, sorted, and the folders that they are in.

    Parameters
    ----------
    files : sequence of str
        Relative posix paths.
    """

    def __init__(self, files: Sequence[str]) -> None:
        names = Paths.of(files).sorted()
        self.files = names.where(np.fromiter((not is_hidden(path) for path in names), np.bool_, len(names)))
        self._folders: dict[str, set[str]] = defaultdict(set)
        for folder in {path.rpartition("/")[0] for path in self.files}:
            self._add(folder)

    def _add(self, folder: str) -> None:
        above, _, name = folder.rpartition("/")
        if folder and folder not in self._folders[name]:
            self._folders[name].add(folder)
            self._add(above)

    def below(self, folder: str) -> Paths:
        """Return the files below a folder, sorted; all files for the root, which is empty."""
        if not folder:
            return self.files
        # "0" follows "/".
        first, last = (self.files.place(folder + end) for end in ("/", "0"))
        return self.files[first:last]

    def roots(self, folder: str) -> list[str]:
        """Return the folders that have `folder` in them, with a slash at the end; empty for the root of the source."""
        return sorted(
            path[: len(path) - len(folder)]
            for path in self._folders.get(folder.rpartition("/")[2], ())
            if path == folder or path.endswith(f"/{folder}")
        )

    def within(self, root: str) -> Tree:
        """Return the tree of a folder, which ends with a slash, or is empty for the tree itself."""
        return Tree(self.below(root.rstrip("/")).without(root)) if root else self


def is_hidden(path: str) -> bool:
    """Return whether a path has a hidden part, or one that macOS adds to archives."""
    # Millions of paths come through here, and nearly all of them have no dot in front.
    if not path.startswith(".") and "/." not in path and "__MACOSX" not in path:
        return False
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.split("/"))
