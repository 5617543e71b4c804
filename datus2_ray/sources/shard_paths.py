"""Files that rows of shards name by a path, where they have no bytes."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from datus2_ray.errors import ImageError, StorageError
from datus2_ray.store import storage


@dataclass(frozen=True)
class PathReader:
    """Reads the file of a path in a shard: below the source, or `outside` of it only where that is allowed.

    A relative path starts at the shard's folder, or else at the source.
    """

    source: str
    outside: bool

    def read(self, shard: str, path: str) -> bytes:
        """Read the file.

        Raises
        ------
        ImageError
            If the path leads out of the source and that is not allowed, or the file cannot be read.
        """
        reasons = []
        for uri in self._places(shard, path):
            try:
                return storage.read_bytes(uri)
            except StorageError as error:
                reasons.append(str(error))
        if reasons:
            raise ImageError("unreadable", f"{shard} has no bytes of it but the path {path}: {reasons[0]}")
        raise ImageError(
            "path_outside",
            f"{shard} has no bytes of it but the path {path}, which is not below the source; "
            "--set ingest.outside_paths=true reads it",
        )

    def _places(self, shard: str, path: str) -> list[str]:
        root = self.source.rstrip("/")
        if "://" in path or path.startswith("/"):
            scheme, separator, rest = path.rpartition("://")
            absolute = f"{scheme}{separator}{posixpath.normpath(rest)}"
            return [absolute] if self.outside or absolute.startswith(f"{root}/") else []
        relative = [posixpath.normpath(posixpath.join(base, path)) for base in (posixpath.dirname(shard), "")]
        inside = [place for place in dict.fromkeys(relative) if place.split("/")[0] != ".."]
        return [storage.join(root, place) for place in (relative if self.outside else inside)]
