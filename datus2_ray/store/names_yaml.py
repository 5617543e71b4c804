"""Names as YAML: what ``names.yaml`` holds, and files that a person wrote.

Every scalar is read as the text that it is: a class may be called ``no``, ``null`` or ``1``, and an image ``0007``,
with or without quotes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import yaml

from datus2_ray.core.names.names import NamedClass, Names, free_colour
from datus2_ray.errors import UsageError
from datus2_ray.store import storage

_HEAD = "# Classes of this run, and the fine clusters and single segments that belong to them; may be edited by hand.\n"

#: Those of libyaml, ten times as fast, where PyYAML was built with it.
_BASE: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_KEYS = ("clustering", "classes", "clusters", "segments")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off", "")


#: What a node without a tag of its own has.
_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))


class _Loader(_BASE):  # type: ignore[misc]
    """Reads scalars as text; refuses tags, and a key that stands twice in a mapping: the last would win in silence."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag not in _TAGS:
            raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag!r} has no meaning", node.start_mark)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen |= {key.value} if isinstance(key.value, str) else set()
        return super().construct_mapping(node, deep)


def read_text(uri: str) -> str:
    """Return the text of a file of names.

    Raises
    ------
    StorageError
        If there is no such file.
    UsageError
        If it is no text in UTF-8.
    """
    try:
        return storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{uri} is no text in UTF-8, see its byte {error.start}; save it as UTF-8") from error


def parse_names(text: str, where: str, clustering: str) -> Names:
    """Read names from YAML.

    Parameters
    ----------
    where : str
        What the text is of, for messages.
    clustering : str
        What the names are taken for where the text does not say, or where no cluster or segment has one: classes
        alone hold for every clustering.

    Raises
    ------
    UsageError
        If the text does not hold names, or a key stands in it twice; the message says what is wrong.
    """
    try:
        kept = yaml.load(text, Loader=_Loader)  # no object is built but text, lists and mappings
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return _build(kept or {}, clustering)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{where} does not hold names: {error}; write classes: [{{name: road, colour: '#e69f00'}}] and "
            "clusters: {road: [0, 5]}"
        ) from error


def format_names(names: Names) -> str:
    """Return names as the text of ``names.yaml``, in a fixed order."""
    titles = [named.name for named in names.classes]
    clusters: dict[str, list[int]] = {title: [] for title in titles}
    for number, found in sorted(names.clusters.items()):
        clusters[titles[found]].append(number)
    kept = {
        "clustering": names.clustering,
        "classes": [
            {"name": named.name, "colour": named.colour, **({"ignore": True} if named.ignore else {})}
            for named in names.classes
        ],
        "clusters": {title: numbers for title, numbers in clusters.items() if numbers},
        "segments": {
            image_id: {number: titles[c] for number, c in sorted(found.items())}
            for image_id, found in sorted(names.segments.items())
        },
    }
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120}
    text: str = yaml.dump(kept, Dumper=_DUMPER, default_flow_style=None, **options)
    return _HEAD + text


def _build(kept: Any, clustering: str) -> Names:
    _check_keys(kept, _KEYS, "it")
    classes: list[NamedClass] = []
    for given in kept.get("classes") or ():
        values = {"name": given} if isinstance(given, str) else given
        _check_keys(values, ("name", "colour", "ignore"), f"class {given!r}")
        ignore = _truth(values["ignore"]) if "ignore" in values else False
        colour = values.get("colour") or free_colour(classes)
        classes.append(NamedClass(_text(values.get("name", "")), _text(colour), ignore))
    names = Names(_text(kept.get("clustering") or clustering), tuple(classes))
    clusters: dict[int, int] = {}
    for title, numbers in _items(kept, "clusters"):
        found = names.class_id(title)
        if not isinstance(numbers, list):
            raise UsageError(f"clusters of {title!r} are {numbers!r}; write a list, as [0, 5]")
        for number in map(_whole, numbers):
            if clusters.setdefault(number, found) != found:
                raise UsageError(f"fine cluster {number} belongs to {classes[clusters[number]].name!r} and {title!r}")
    segments = {
        image_id: {_whole(number): names.class_id(_text(title)) for number, title in (found or {}).items()}
        for image_id, found in _items(kept, "segments")
    }
    names = Names(
        names.clustering, names.classes, clusters, {image: found for image, found in segments.items() if found}
    )
    return replace(names, clustering=clustering) if names.is_empty and clustering else names


def _check_keys(kept: Any, known: tuple[str, ...], what: str) -> None:
    if not isinstance(kept, dict):
        raise TypeError(f"{what} is no mapping")
    if unknown := set(kept) - set(known):
        raise UsageError(f"unknown key {min(unknown)!r}; there are {', '.join(known)}")


def _items(kept: dict[str, Any], key: str) -> Any:
    return (kept.get(key) or {}).items()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is no text")
    return value


def _truth(value: Any) -> bool:
    if (text := _text(value).lower()) not in _TRUE + _FALSE:
        raise UsageError(f"ignore: {value!r} is neither true nor false")
    return text in _TRUE


def _whole(number: Any) -> int:
    if not isinstance(number, str) or not re.fullmatch("0|[1-9][0-9]{0,9}", number):
        raise UsageError(f"{number!r} is no number of a cluster or segment: they are 0, 1, 2, …")
    return int(number)
