"""``events.jsonl``: one line for everything that a run did, with its time."""

from __future__ import annotations

import json
import time
from typing import Any

from datus2_ray.store import storage


class EventLog:
    """The log of one run folder."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lines = (storage.if_there(storage.read_bytes, uri) or b"").decode().splitlines()
        self._first: str | None = None
        self.grew = False

    def open(self, event: str, **fields: Any) -> None:
        """Keep an event that is written before the next one: a run that finds nothing to do leaves no trace."""
        self._first = _line(event, fields)

    def write(self, event: str, **fields: Any) -> None:
        """Append an event."""
        self._lines += [self._first] if self._first else []
        self._lines.append(_line(event, fields))
        self._first, self.grew = None, True
        # An object store cannot append, so the whole log is written again; it has a few lines a stage.
        storage.write_bytes(self._uri, ("\n".join(self._lines) + "\n").encode())

    def read(self) -> list[dict[str, Any]]:
        """Return all events, oldest first."""
        return [json.loads(line) for line in self._lines]

    def stage_seconds(self, fingerprint: str) -> float | None:
        """Return the seconds that all attempts at a result took together; None where none is known."""
        ended = [event["seconds"] for event in self._ended(fingerprint)]
        return sum(ended) if ended else None

    def seconds_per_row(self, fingerprint: str) -> float | None:
        """Return the seconds per row (image, segment, step): an attempt counts only the rows that it did itself."""
        ended = self._ended(fingerprint)
        rows = sum(event["rows_done"] for event in ended)
        return sum(event["seconds"] for event in ended) / rows if rows else None

    def memory(self, fingerprint: str) -> int | None:
        """Return the most memory in bytes that an actor took in any attempt at a result; None where none is known."""
        return max((event["memory"] for event in self._ended(fingerprint) if "memory" in event), default=None)

    def _ended(self, fingerprint: str) -> list[dict[str, Any]]:
        """Return the events that end an attempt, finished or failed; a killed one leaves none."""
        return [event for event in self.read() if "rows_done" in event and event["fingerprint"] == fingerprint]


def _line(event: str, fields: dict[str, Any]) -> str:
    return json.dumps({"time": round(time.time(), 3), "event": event, **fields})
