"""Weights in an object store: downloaded once per node, however many actors ask for them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from datus2_ray.errors import BackboneError
from datus2_ray.store import storage

#: Seconds to wait for another process of this node that downloads the same file.
PATIENCE = 1800


def local_spec(spec: str) -> str:
    """Replace the URI in a weights setting, as in ``s3://BUCKET/FILE::TIMM_NAME``, by the path of its local copy.

    Raises
    ------
    BackboneError
        If there is no such object, or its copy cannot be written.
    """
    uri, separator, name = spec.partition("::")
    return f"{fetch(uri)}{separator}{name}" if "://" in uri else spec


def fetch(uri: str) -> Path:
    """Return the local copy of a weights file, downloading it, and the JSON file beside it, where it is missing.

    The folder of the copy is named by a hash of the object's URI, size and time of change: a replaced object is
    downloaded again, and a finished copy never changes.
    """
    weights = storage.find_file(uri)
    if weights is None:
        raise BackboneError(f"there is no weights file {uri}; give one that exists, or the name of a timm model")
    config_uri = uri.removesuffix(Path(weights.path).suffix) + ".json"
    config = storage.find_file(config_uri)
    folder = cache_folder() / hashlib.sha256(repr((uri, weights, config)).encode()).hexdigest()[:32]
    file = folder / weights.path
    if file.is_file():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=PATIENCE):
            if not file.is_file():
                if config is not None:
                    storage.download(config_uri, folder / config.path)
                # Last, because a copy counts as complete once the weights are there.
                storage.download(uri, file)
    except Timeout as error:
        raise BackboneError(
            f"another process has been downloading {uri} for {PATIENCE} s; remove {folder} if there is none"
        ) from error
    except OSError as error:
        raise BackboneError(
            f"{uri} cannot be kept in {folder} ({error.strerror}); set XDG_CACHE_HOME to a folder with space"
        ) from error
    return file


def cache_folder() -> Path:
    """Return the folder of this node's copies, below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "datus2_ray" / "weights"
