"""Annotations: what a person drew or corrected in another program, as class masks of a run's images."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
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
    """

    classes: tuple[NamedClass, ...]
    images: Mapping[str, bytes]
    draw: Draw


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
        The file's name of an image by its id: where the path is that of the image, or that path without suffix, or its
        id; else where the last part of the path is, and is that of one image only.
    list of str
        Names that are no image of the run.
    """
    paths: dict[str, str] = {}
    last: dict[str, str | None] = {}
    for image_id, file in images.items():
        paths |= {image_id: image_id, file: image_id, posixpath.splitext(file)[0]: image_id}
        name = posixpath.basename(image_id)
        last[name] = None if name in last else image_id
    matched: dict[str, str] = {}
    unknown: list[str] = []
    for name in named:
        stem = posixpath.splitext(name)[0]
        found = paths.get(name) or paths.get(stem) or last.get(posixpath.basename(stem))
        if found is None:
            unknown.append(name)
        else:
            matched[found] = name
    return matched, unknown
