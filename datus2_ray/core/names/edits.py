"""The edits of names: each takes names and returns others; what a new name needs is added with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from datus2_ray.core.names.names import NamedClass, Names, free_colour


def name_clusters(names: Names, clusters: Collection[int], name: str | None) -> Names:
    """Let fine clusters belong to a class, which is added where it is not there; None: to no class."""
    kept = {number: found for number, found in names.clusters.items() if number not in set(clusters)}
    if name is None:
        return replace(names, clusters=kept)
    names = add_class(names, name)
    return replace(names, clusters={**kept, **dict.fromkeys(clusters, names.class_id(name))})


def name_segments(names: Names, segments: Mapping[str, Collection[int]], name: str | None) -> Names:
    """Let single segments belong to a class of their own, which is added where it is not there.

    Parameters
    ----------
    segments : mapping of str to collection of int
        Numbers of segments by image id.
    name : str or None
        None: they belong to the class of their cluster again.
    """
    if name is not None:
        names = add_class(names, name)
    own = (
        {}
        if name is None
        else {image_id: dict.fromkeys(found, names.class_id(name)) for image_id, found in segments.items()}
    )
    changed = {
        image_id: {
            **{number: known for number, known in names.segments.get(image_id, {}).items() if number not in set(found)},
            **own.get(image_id, {}),
        }
        for image_id, found in segments.items()
    }
    kept = {**names.segments, **changed}
    return replace(names, segments={image_id: found for image_id, found in kept.items() if found})


def add_class(names: Names, name: str, colour: str | None = None, ignore: bool = False) -> Names:
    """Add a class, by default of a colour that none has; a class that is there stays as it is."""
    if names.find(name) is not None:
        return names
    added = NamedClass(name, colour or free_colour(names.classes), ignore)
    return replace(names, classes=(*names.classes, added))


def change_class(
    names: Names, name: str, *, rename: str | None = None, colour: str | None = None, ignore: bool | None = None
) -> Names:
    """Rename a class, or change its colour or whether it is ignored."""
    number = names.class_id(name)
    old = names.classes[number]
    new = NamedClass(rename or old.name, colour or old.colour, old.ignore if ignore is None else ignore)
    return replace(names, classes=(*names.classes[:number], new, *names.classes[number + 1 :]))


def remove_class(names: Names, name: str) -> Names:
    """Remove a class; what belonged to it is unnamed."""
    return _without(names, names.class_id(name), None)


def join_classes(names: Names, name: str, into: str) -> Names:
    """Remove a class; what belonged to it belongs to another one."""
    number, target = names.class_id(name), names.class_id(into)
    return names if number == target else _without(names, number, target)


def _without(names: Names, number: int, target: int | None) -> Names:
    """Remove a class, and move what belonged to it to another or to none."""

    def moved(found: Mapping[int, int]) -> dict[int, int]:
        targets = {item: target if known == number else known for item, known in found.items()}
        return {item: known - (known > number) for item, known in targets.items() if known is not None}

    segments = {image_id: moved(found) for image_id, found in names.segments.items()}
    return replace(
        names,
        classes=names.classes[:number] + names.classes[number + 1 :],
        clusters=moved(names.clusters),
        segments={image_id: found for image_id, found in segments.items() if found},
    )
