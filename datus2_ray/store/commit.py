"""The commit of a finished stage: what its folder holds, written last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from datus2_ray.store import storage
from datus2_ray.store.facts import Facts

F = TypeVar("F", bound=Facts)


@dataclass(frozen=True)
class Commit(Generic[F]):
    """A finished result of a stage.

    Parameters
    ----------
    uri : str
        Folder of the result; not written, so that a run folder can be moved.
    rows_in, rows_out, rows_quarantined : int
        Images that came in, went out, and could not be used.
    parts : dict of str to int
        Rows in each file of the stage's table; empty where the result is not cut into parts.
    """

    uri: str
    fingerprint: str
    rows_in: int
    rows_out: int
    rows_quarantined: int
    parts: dict[str, int]
    facts: F

    def path(self, *parts: str) -> str:
        """Return the URI of a file of the result."""
        return storage.join(self.uri, *parts)

    def to_json(self) -> dict[str, Any]:
        """Return what ``_COMMIT.json`` holds."""
        return {name: value for name, value in asdict(self).items() if name != "uri"}

    @staticmethod
    def from_json(uri: str, kept: dict[str, Any], facts: type[F]) -> Commit[F]:
        """Build a commit from what ``_COMMIT.json`` holds."""
        # JSON has lists where the dataclasses have tuples, and dicts where they have dataclasses.
        typed = TypeAdapter(facts).validate_python(kept["facts"])
        names = {field.name for field in fields(Commit)} - {"uri", "facts", "parts"}
        # An earlier version kept parts of which no image is left, too.
        parts = {part: rows for part, rows in kept["parts"].items() if rows}
        return Commit(uri=uri, facts=typed, parts=parts, **{name: kept[name] for name in names})


def fingerprint(stage: str, version: int, decides: Mapping[str, Any], inputs: Mapping[str, str] | Sequence[str]) -> str:
    """Hash what decides a result: name and version of the stage, its settings, and the fingerprints of its inputs."""
    text = json.dumps([stage, version, decides, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
