"""Annotations: what a person drew or corrected in another program, as class masks of a run's images."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from datus2_ray.core.images.labels import NOISE_16, Labels
from datus2_ray.core.names.names import NamedClass
from datus2_ray.errors import UsageError


class NoAnnotationsError(UsageError):
    """A file that is none of annotations, and may be any other where it is one of many."""


class Draw(Protocol):
    """Draws the annotations of an image; sent to the tasks."""

    def __call__(self, drawn: bytes, height: int, width: int) -> Labels:
        """Return class ids [height, width] of the type that they need; raise an ImageError if they do not fit."""
        ...


@dataclass(frozen=True)
class Annotations:
    """The annotations of a file.

    Parameters
    ----------
    classes : tuple of NamedClass
        The id of a class in drawn masks is its position.
    images : mapping of str to bytes
        What `draw` takes, by the name that the file has for the image.
    without_area : int
        Annotations that are passed over, such as boxes.
    """

    classes: tuple[NamedClass, ...]
    images: Mapping[str, bytes]
    draw: Draw
    without_area: int = 0


def check_classes(names: Iterable[str], where: str) -> None:
    """Raise a UsageError if there are no classes, or more than a mask holds."""
    count = len(list(names))
    if not 0 < count < NOISE_16:
        raise UsageError(f"{where} has {count} classes; there may be 1 to {NOISE_16 - 1}")


def match(named: Iterable[str], images: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Match the images of a file with those of a run.

    Parameters
    ----------
    named : iterable of str
        Names that the file has for its images: paths, with or without suffix.
    images : mapping of str to str
        Path of the file of every image of the run, by its id.

    Returns
    -------
    dict of str to str
        The file's name of an image by its id: where the path is that of the image, else its id and suffix, else that
        path or id without suffix, else where the last part of the path is that of the id. What several images have in
        common names none of them, and of several names that are equally near to an image none is its.
    list of str
        Names that are no image of the run, or for which nothing of the above decides.
    """
    stems = {image_id: posixpath.splitext(file)[0] for image_id, file in images.items()}
    paths = _distinct((file, image_id) for image_id, file in images.items())
    with_suffix = {image_id + images[image_id][len(stem) :]: image_id for image_id, stem in stems.items()}
    without = {**_distinct((stem, image_id) for image_id, stem in stems.items()), **{name: name for name in images}}
    last = _distinct((posixpath.basename(image_id), image_id) for image_id in images)
    nearest_first: tuple[tuple[Mapping[str, str | None], Callable[[str], tuple[str, ...]]], ...] = (
        (paths, lambda name: (name,)),
        (with_suffix, lambda name: (name,)),
        (without, lambda name: (name, posixpath.splitext(name)[0])),
        (last, lambda name: (posixpath.basename(posixpath.splitext(name)[0]),)),
    )
    unknown = dict.fromkeys(named)
    rest = list(unknown)
    matched: dict[str, str] = {}
    claimed: set[str] = set()
    for known, forms in nearest_first:
        found = {name: image for name in rest if (image := next(filter(None, map(known.get, forms(name))), None))}
        claims = Counter(found.values())
        for name, image_id in found.items():
            if claims[image_id] == 1 and image_id not in claimed:
                matched[image_id] = name
                del unknown[name]
        claimed |= claims.keys()
        rest = [name for name in rest if name not in found]
    return matched, list(unknown)


def _distinct(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Return the second text of each pair by the first; None where there are several."""
    found: dict[str, str | None] = {}
    for key, value in pairs:
        found[key] = None if key in found else value
    return found
