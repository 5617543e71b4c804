"""Weights in an object store: fetched once a node, however many actors of it ask, and a local file from then on.

Weights on a disk, and those that a model hub's client keeps on one, need none of this.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from datus2_ray.errors import BackboneError
from datus2_ray.store import storage

#: Seconds to wait for another process of this node that is fetching the same file.
PATIENCE = 1800


def local_spec(spec: str) -> str:
    """Turn the URI in a weights setting into the path of its local copy; anything else stays as it is.

    Parameters
    ----------
    spec : str
        As ``--backbone`` takes it: ``s3://BUCKET/FILE``, also with ``::TIMM_NAME`` behind it, or what is no URI.

    Raises
    ------
    BackboneError
        There is no such object, or no place to keep it.
    StorageError
        It cannot be read.
    """
    uri, separator, name = spec.partition("::")
    return f"{fetch(uri)}{separator}{name}" if "://" in uri else spec


def fetch(uri: str) -> Path:
    """Give the local copy of a weights file, and of the JSON beside it, fetching them where they are not here yet.

    The copy lies in a folder named after the object's URI, size and time of change: an object that was replaced is
    fetched anew, and a finished copy never changes.
    """
    listed = storage.find_file(uri)
    if listed is None:
        raise BackboneError(f"there is no weights file {uri}; give one that exists, or the name of a timm model")
    beside_uri = uri.removesuffix(Path(listed.path).suffix) + ".json"
    beside = storage.find_file(beside_uri)
    version = hashlib.sha256(repr((uri, listed, beside)).encode()).hexdigest()[:32]
    folder = cache_folder() / version
    file = folder / listed.path
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=PATIENCE):
            if not file.is_file():
                # The weights come last: with them a copy is whole.
                if beside is not None:
                    storage.write_bytes(str(folder / beside.path), storage.read_bytes(beside_uri))
                storage.write_bytes(str(file), storage.read_bytes(uri))
    except Timeout as error:
        raise BackboneError(
            f"another process has been fetching {uri} for {PATIENCE} s; remove {folder} if there is none"
        ) from error
    except OSError as error:
        raise BackboneError(
            f"{uri} cannot be kept in {folder} ({error.strerror}); set XDG_CACHE_HOME to a folder with space"
        ) from error
    return file


def cache_folder() -> Path:
    """Give the folder of this node's copies: the user's own, as other programs of theirs keep downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datus2_ray" / "weights"
