"""The version of how ground truth is drawn from JSON files of annotations, for the fingerprints of what reads it."""

from __future__ import annotations

from datus2_ray.sources.listing import Listing

#: Data sets whose ground truth is drawn from JSON files.
ANNOTATED = ("coco", "labelme")

#: Raised when it is drawn in another way: then their images are read again, and those of no other data set.
VERSION = 2


def drawing(listing: Listing) -> dict[str, int]:
    """Return what decides the ground truth of a source beside its files; nothing where none of it is drawn."""
    drawn = listing.dataset in ANNOTATED and listing.labelled and listing.columns is None
    return {"drawing": VERSION} if drawn else {}
