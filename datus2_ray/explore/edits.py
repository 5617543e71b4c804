"""The edits that the page sends: checked JSON, each a function from names to names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from datus2_ray.core.names import edits
from datus2_ray.core.names.names import Names
from datus2_ray.errors import UsageError
from datus2_ray.explore.tables import Tables


class _Edit(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NameClusters(_Edit):
    """Let fine clusters belong to a class, or to none."""

    do: Literal["clusters"]
    clusters: list[int] = Field(min_length=1)
    name: str | None


class NameSegments(_Edit):
    """Let segments of an image, by its number, belong to a class of their own, or to that of their cluster."""

    do: Literal["segments"]
    image: int
    segments: list[int] = Field(min_length=1)
    name: str | None


class AddClass(_Edit):
    """Add a class."""

    do: Literal["add"]
    name: str


class ChangeClass(_Edit):
    """Rename a class, or change its colour or whether it is ignored."""

    do: Literal["change"]
    name: str
    rename: str | None = None
    colour: str | None = None
    ignore: bool | None = None


class RemoveClass(_Edit):
    """Remove a class."""

    do: Literal["remove"]
    name: str


class JoinClasses(_Edit):
    """Join a class with another one."""

    do: Literal["join"]
    name: str
    into: str


class Turn(_Edit):
    """Undo or redo the last change."""

    do: Literal["undo", "redo"]


Edit = NameClusters | NameSegments | AddClass | ChangeClass | RemoveClass | JoinClasses | Turn


@dataclass(frozen=True)
class Request:
    """An edit, and the number of the last change that the page knew of."""

    expected: int
    edit: Annotated[Edit, Field(discriminator="do")]


_REQUEST = TypeAdapter(Request)


def parse_request(body: bytes) -> Request:
    """Read an edit; raise a UsageError that says what is wrong with it."""
    try:
        return _REQUEST.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"this is no edit: {where}: {first['msg']}") from error


def to_function(edit: Edit, tables: Tables) -> Callable[[Names], Names]:
    """Return what an edit does to names; raise a UsageError if it names something that the run does not have."""
    match edit:
        case NameClusters():
            if not 0 <= min(edit.clusters) <= max(edit.clusters) < tables.leaves:
                raise UsageError(f"there are {tables.leaves} fine clusters: 0 to {tables.leaves - 1}")
            return lambda names: edits.name_clusters(names, edit.clusters, edit.name)
        case NameSegments():
            if not 0 <= edit.image < tables.images:
                raise UsageError(f"there are {tables.images} images")
            count = len(tables.rows_of_image(edit.image))
            if not 0 <= min(edit.segments) <= max(edit.segments) < count:
                raise UsageError(f"this image has {count} segments")
            image_id = tables.image_ids[edit.image].as_py()
            return lambda names: edits.name_segments(names, {image_id: edit.segments}, edit.name)
        case AddClass():
            return lambda names: edits.add_class(names, edit.name)
        case ChangeClass():
            return lambda names: edits.change_class(
                names, edit.name, rename=edit.rename, colour=edit.colour, ignore=edit.ignore
            )
        case RemoveClass():
            return lambda names: edits.remove_class(names, edit.name)
        case JoinClasses():
            return lambda names: edits.join_classes(names, edit.name, edit.into)
        case Turn():
            raise AssertionError("undo and redo are turns of the history, no functions")
