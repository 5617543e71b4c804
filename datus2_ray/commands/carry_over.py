"""Names of an earlier clustering of a run's images, mapped to the one that there is now."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from datus2_ray.core.names.carry import SegmentedImage, carry_over
from datus2_ray.core.names.changes import Change
from datus2_ray.engine.segments_table import LabelledImage, SegmentsTable
from datus2_ray.engine.training.shares import image_ids
from datus2_ray.errors import UsageError
from datus2_ray.store import folders
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Labelled
from datus2_ray.store.names import append_change, open_names
from datus2_ray.store.run_folder import RunFolder


def carry_over_names(run: str) -> list[str]:
    """Map the names of an earlier clustering in this folder to the current one by overlap, as one change.

    Returns
    -------
    list of str
        What could not be carried over, a line each after one that counts what could.

    Raises
    ------
    StorageError
        If `run` is no finished run.
    UsageError
        If the segments of the earlier clustering are not in the folder any more.
    """
    folder = RunFolder.of_finished(run)
    clustered, labelled = folder.require(Clustered), folder.require(Labelled)
    names, number = open_names(folder)
    if names.is_empty or names.clustering == clustered.fingerprint:
        return ["the names are of the current clustering; there is nothing to carry over"]
    old = _find_labelled(folder, names.clustering)
    pairs = _pairs(folder, old, labelled)
    carried = carry_over(names, clustered.fingerprint, clustered.facts.centroids, pairs)
    append_change(folder, Change.between(names, carried.names), number)
    lines = [
        f"fine cluster {cluster} stays open; most of what was named in it was {title!r}"
        for cluster, title in carried.open_clusters.items()
    ]
    lines += [
        f"image {image_id!r}: segments {', '.join(map(str, found))} are not found again"
        for image_id, found in carried.open_segments.items()
    ]
    return [f"{len(carried.names.clusters)} fine clusters named; {len(lines)} not carried over", *lines]


def _find_labelled(folder: RunFolder, clustering: str) -> Commit[Labelled]:
    """Return clusters of segments by an earlier clustering."""
    place = folder.path(Labelled.stage)
    for begun in sorted({entry.path.partition("/")[0] for entry in folders.list_files(place)}):
        commit = folder.find(Labelled, begun)
        if commit is not None and folder.inputs(Labelled.stage, begun).get(Clustered.stage) == clustering:
            return commit
    raise UsageError(
        f"{folder.uri}: the names are of clustering {clustering[:12]}, whose segments are not in {place} any more; "
        "name the clusters anew, or move names.yaml and names.jsonl away"
    )


def _segments(folder: RunFolder, labelled: Commit[Labelled]) -> SegmentsTable:
    inputs = folder.inputs(Labelled.stage, labelled.fingerprint)
    return SegmentsTable(folder.result(Discovered.stage, inputs[Discovered.stage]), labelled.uri)


def _pairs(
    folder: RunFolder, old: Commit[Labelled], new: Commit[Labelled]
) -> Iterator[tuple[SegmentedImage, SegmentedImage]]:
    """Return the images that both clusterings have, which other parts may hold."""
    places = {image_id: part for part in sorted(old.parts) for image_id in image_ids(old.uri, [part])}
    before, after = _segments(folder, old), _segments(folder, new)

    def read(part: str) -> dict[str, LabelledImage]:
        return {image.image_id: image for image in before.read(part)}

    # Slices of the same sorted ids, or the same row groups: a part meets one or two others.
    cached = lru_cache(maxsize=2)(read)
    for part in sorted(new.parts):
        for image in after.read(part):
            if image.image_id in places:
                other = cached(places[image.image_id])[image.image_id]
                yield _without_mask(other), _without_mask(image)


def _without_mask(image: LabelledImage) -> SegmentedImage:
    return SegmentedImage(image.image_id, image.patch_map, image.fine)
