"""Listing a source: a folder, a data set, single files or shards."""

from __future__ import annotations

from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.list_files import list_files
from datus2_ray.sources.list_shards import list_shards
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.paths import Show, quiet
from datus2_ray.sources.place import find_place
from datus2_ray.sources.shards import find_shards


def list_source(
    config: RunConfig, labelled: bool = True, show: Show = quiet, compared: Show = quiet, opened: Show = quiet
) -> Listing:
    """List a folder, a data set, single files or shards in parts, without the masks unless `labelled`.

    `show` is called again and again with the number of files since the call before, `compared` with that of names,
    `opened` with that of shards.

    Raises
    ------
    UsageError
        If the source does not fit its data set or has no images, or if K is not given and cannot be found.
    StorageError
        If the source does not exist or one of its shards cannot be read.
    """
    place = find_place(config.source, config.out, show, compared)
    shards = find_shards(place.root, place.files, config.ingest)
    listing = list_shards(config, place, shards, labelled, opened) if shards else list_files(config, place, labelled)
    if labelled:
        check_counted(config, listing.dataset, listing.labelled)
    return listing


def is_counted(dataset: str, labelled: bool) -> bool:
    """Return whether the layout or the masks determine the number of classes."""
    return labelled or known.find(dataset).class_names is not None


def check_counted(config: RunConfig, dataset: str, labelled: bool) -> None:
    """Raise a UsageError if K is not given, there are no classes to count, and it is not chosen on a sample."""
    if config.clusters is None and not is_counted(dataset, labelled) and config.discover.descriptor != "tokens":
        raise UsageError(
            f"{config.source} has no classes to count: give --clusters K, for example 10, or --preset best, which "
            "finds a K of its own"
        )


def list_for_shards(config: RunConfig, show: Show = quiet, compared: Show = quiet) -> Listing:
    """List a folder or a data set in parts that each fill a shard; UsageError if it has shards already."""
    place = find_place(config.source, config.out, show, compared)
    if find_shards(place.root, place.files, config.ingest):
        raise UsageError(f"{config.source} holds shards already; give it to `datus2 run`")
    return list_files(config, place, labelled=True, part_bytes=config.ingest.shard_megabytes * 1_000_000)
