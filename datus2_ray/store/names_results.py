"""Results that were made of names: which names, and what may no longer be shown as if it were of those there are."""

from __future__ import annotations

from datus2_ray.errors import UsageError
from datus2_ray.store.facts import Facts, Named, NamesScored, Taught, TaughtMasks
from datus2_ray.store.names import read_names
from datus2_ray.store.run_folder import RunFolder

#: Results of names, and the one among them whose fingerprint the names decide.
SOURCES: dict[type[Facts], type[Facts]] = {Named: Named, Taught: Taught, TaughtMasks: Taught, NamesScored: Named}


def names_of(folder: RunFolder, facts: type[Facts]) -> str | None:
    """Return the hash of the names that a stage's current result was made of; None without one."""
    fingerprint, source = folder.current().get(facts.stage), SOURCES[facts]
    if fingerprint is not None and source is not facts:
        fingerprint = folder.inputs(facts.stage, fingerprint).get(source.stage)
    found = None if fingerprint is None else folder.decides(source.stage, fingerprint).get("names")
    return None if found is None else str(found)


def is_outdated(folder: RunFolder, facts: type[Facts]) -> bool:
    """Return whether a stage has a result of names, and these are not those that there are now.

    Not of predicted masks, whose names are those of the run's folder.
    """
    if facts not in SOURCES or folder.read()["command"] != "run" or (made_of := names_of(folder, facts)) is None:
        return False
    try:
        return made_of != read_names(folder).fingerprint()
    except UsageError:  # damaged by hand
        return True


def withdraw(folder: RunFolder) -> bool:
    """Let no result of names be current, and return whether one was: all names were taken back."""
    current, stages = folder.current(), {facts.stage for facts in SOURCES}
    kept = {name: fingerprint for name, fingerprint in current.items() if name not in stages}
    if kept == current:
        return False
    folder.set_current(kept)
    return True
