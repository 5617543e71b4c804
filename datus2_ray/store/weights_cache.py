"""Weights in an object store or on the model hub: downloaded once per node, however many actors ask for them."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from datus2_ray.core.backbone.published import CONFIG, PREPROCESSOR, WEIGHTS
from datus2_ray.core.backbone.split import INDEX, piece_names
from datus2_ray.errors import BackboneError
from datus2_ray.store import storage

#: Seconds to wait for another process of this node that downloads the same file.
PATIENCE = 1800


#: What may stand before a name of the model hub.
HUB = re.compile(r"hf[-_]hub:")

#: OWNER/NAME or OWNER/NAME@REVISION, but not the path of a weights file.
HUB_NAME = re.compile(r"(?!.*\.(?:bin|ckpt|index\.json|pkl|pth?|safetensors|tar)$)\w[\w.-]*/[\w.-]+(?:@[\w.-]+)?")


def local_spec(spec: str) -> str:
    """Replace a URI or a name of the model hub in a weights setting by the path of its local copy.

    Such as ``s3://BUCKET/FILE::TIMM_NAME``, ``facebook/dinov2-small`` or ``hf-hub:timm/NAME``.

    Raises
    ------
    BackboneError
        If there is no such object or repository, or its copy cannot be written.
    """
    place, separator, name = spec.partition("::")
    if "://" in place:
        return f"{fetch(place)}{separator}{name}"
    return f"{fetch_from_hub(HUB.sub('', place))}{separator}{name}" if is_on_hub(place) else spec


def is_on_hub(spec: str) -> bool:
    """Return whether a weights setting names a repository of the model hub: one that is no local path."""
    place = spec.partition("::")[0]
    if HUB.match(place):
        return True
    return HUB_NAME.fullmatch(place) is not None and not Path(place).exists()


def fetch_from_hub(name: str) -> Path:
    """Return the weights of a repository in the hub's own cache, downloading them and what describes them if missing.

    What is in the cache is used as it is, without asking the hub.

    Raises
    ------
    BackboneError
        If the hub cannot be reached, has no such repository, refuses it, or the repository has no weights.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    repository, _, revision = name.partition("@")
    version = revision or None
    for file in WEIGHTS:
        cached = hub.try_to_load_from_cache(repository, file, revision=version)
        if isinstance(cached, str):
            names = piece_names(Path(cached)) if file.endswith(INDEX) else []
            if all(isinstance(hub.try_to_load_from_cache(repository, name, revision=version), str) for name in names):
                return Path(cached)
    try:
        # Asked first: a client that cannot reach the hub repeats every request for a long while.
        with suppress(errors.RemoteEntryNotFoundError):
            hub.get_hf_file_metadata(hub.hf_hub_url(repository, CONFIG, revision=version))
        for file in (CONFIG, PREPROCESSOR):
            with suppress(errors.RemoteEntryNotFoundError):
                hub.hf_hub_download(repository, file, revision=version)
        for file in WEIGHTS:
            with suppress(errors.RemoteEntryNotFoundError):
                weights = Path(hub.hf_hub_download(repository, file, revision=version))
                for name in piece_names(weights) if file.endswith(INDEX) else []:
                    hub.hf_hub_download(repository, name, revision=version)
                return weights
    except errors.GatedRepoError as error:
        raise BackboneError(
            f"{name} is given only to those who accept its licence: do so on the model hub, and set HF_TOKEN"
        ) from error
    except BackboneError:
        raise
    except errors.RepositoryNotFoundError as error:
        raise BackboneError(
            f"there is neither a file {name} nor a public repository {repository} of the model hub; for a private one "
            "set HF_TOKEN"
        ) from error
    except Exception as error:  # the hub's client raises the errors of several libraries
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackboneError(
            f"{name} is no file, and could not be fetched from the model hub ({reason}); download its files elsewhere "
            "and give their folder"
        ) from error
    raise BackboneError(f"{name} has no {' or '.join(WEIGHTS[:2])}, so there are no weights that can be loaded")


def fetch(uri: str) -> Path:
    """Return the local copy of a weights file, downloading it, and the JSON file beside it, where it is missing.

    The folder of the copy is named by a hash of the object's URI, size and time of change: a replaced object is
    downloaded again, and a finished copy never changes.
    """
    weights = storage.find_file(uri)
    if weights is None:
        raise BackboneError(f"there is no weights file {uri}; give one that exists, or the name of a timm model")
    stem = uri.removesuffix(INDEX)
    config_uri = stem.removesuffix(Path(stem).suffix) + ".json"
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
                if uri.endswith(INDEX):
                    storage.download(uri, folder / "index")
                    for name in piece_names(folder / "index"):
                        storage.download(storage.join(uri.rpartition("/")[0], name), folder / name)
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
