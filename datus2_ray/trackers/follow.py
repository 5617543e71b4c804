"""How a run is followed: every stage is sent when it is done, scores and report at the end; nothing of it can fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from datus2_ray.engine.progress import say
from datus2_ray.engine.run import Run
from datus2_ray.errors import UsageError
from datus2_ray.store import storage
from datus2_ray.store.commit import fingerprint
from datus2_ray.store.run_folder import REPORT
from datus2_ray.trackers import TRACKERS
from datus2_ray.trackers.tracker import Tracker, numbers_in, read_result


def check_tracker(name: str | None) -> None:
    """Raise a UsageError if the package of a tracker is not installed."""
    if name is not None and find_spec(name) is None:
        raise UsageError(f"--tracker {name} needs its package; install it with: pip install 'datus2-ray[{name}]'")


class Following:
    """Sends a run to a tracker, if it has one, until that fails once: then a line says so, and the run goes on."""

    def __init__(self, name: str | None, begin: Callable[[], Tracker | None]) -> None:
        self._name = name
        self._tracker: Tracker | None = None
        self._sent: dict[str, str] = {}
        self._try(lambda: setattr(self, "_tracker", begin()))

    def after_stage(self, run: Run) -> None:
        """Send the results that are new since the last call."""
        for stage, commit in run.commits.items():
            if (tracker := self._tracker) is not None and self._sent.get(stage) != commit.fingerprint:
                self._sent[stage] = commit.fingerprint
                self._try(lambda tracker=tracker, commit=commit: tracker.log(read_result(commit)))  # type: ignore[misc]

    def finish(self, run: Run, summary: Mapping[str, Any]) -> None:
        """Send the scores, counts and seconds of a summary, and the report where there is one."""
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.finish(_numbers(summary), _report(run)))

    def _try(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            self._tracker = None
            reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
            say(
                "tracker", f"{self._name} failed, and the run goes on without it; give the same command again: {reason}"
            )


def follow(run: Run, title: str | None = None) -> Following:
    """Return what sends a run, before its first stage, to the tracker of its settings.

    `title` is its name there; default that of its folder.
    """
    config = run.config
    if config.tracker is None:
        return Following(None, lambda: None)
    settings = config.model_dump(mode="json", exclude={"tracker"})
    make = TRACKERS[config.tracker]

    def begin() -> Tracker:
        # Where the folder lies is not what it is: it may be moved.
        identity = {name: value for name, value in settings.items() if name != "out"}
        key = fingerprint("tracker", 1, identity, [run.folder.identify()])
        return make(key, title or _folder(config.out), settings)

    return Following(config.tracker, begin)


def _folder(out: str) -> str:
    return out.rstrip("/").rpartition("/")[2]


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    counts = {name: value for name, value in summary.items() if not isinstance(value, Mapping)}
    scores = {name: value for name, value in (summary.get("metrics") or {}).items() if isinstance(value, Mapping)}
    return numbers_in({**counts, "seconds": summary.get("seconds", {}), "scores": scores})


def _report(run: Run) -> bytes | None:
    return storage.if_there(storage.read_bytes, run.folder.path(REPORT))
