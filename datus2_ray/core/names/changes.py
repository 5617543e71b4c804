"""Changes: the difference of two states of names, which can be written, applied, and undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from datus2_ray.core.names.names import NamedClass, Names
from datus2_ray.errors import UsageError

#: What something belonged to before and belongs to after, by the name of the class; None: to no class.
Step = tuple[str | None, str | None]


@dataclass(frozen=True)
class Change:
    """What one edit changed: the state before and after of all that differs, and of nothing else.

    Parameters
    ----------
    clustering : tuple of str, optional
        Fingerprints of the clustering, before and after; None where it is the same.
    classes : tuple, optional
        All classes, before and after; None where none changed.
    clusters : mapping of int to Step
        By fine cluster.
    segments : mapping of str to mapping of int to Step
        By image id and number of the segment.
    """

    clustering: tuple[str, str] | None = None
    classes: tuple[tuple[NamedClass, ...], tuple[NamedClass, ...]] | None = None
    clusters: Mapping[int, Step] = field(default_factory=dict)
    segments: Mapping[str, Mapping[int, Step]] = field(default_factory=dict)

    @staticmethod
    def between(before: Names, after: Names) -> Change:
        """Return what leads from some names to others."""
        old, new = _by_name(before), _by_name(after)
        segments = {
            image_id: _steps(old[1].get(image_id, {}), new[1].get(image_id, {}))
            for image_id in sorted({*old[1], *new[1]})
        }
        return Change(
            None if before.clustering == after.clustering else (before.clustering, after.clustering),
            None if before.classes == after.classes else (before.classes, after.classes),
            _steps(old[0], new[0]),
            {image_id: steps for image_id, steps in segments.items() if steps},
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return self == Change()

    def inverse(self) -> Change:
        """Return the change that undoes this one."""

        def turned(steps: Mapping[int, Step]) -> dict[int, Step]:
            return {number: (after, before) for number, (before, after) in steps.items()}

        return Change(
            self.clustering and self.clustering[::-1],
            self.classes and self.classes[::-1],
            turned(self.clusters),
            {image_id: turned(steps) for image_id, steps in self.segments.items()},
        )

    def apply(self, names: Names) -> Names:
        """Return names after the change.

        Raises
        ------
        UsageError
            If it was made from other names.
        """
        clustering, classes = self.clustering or 2 * (names.clustering,), self.classes or 2 * (names.classes,)
        clusters, segments = _by_name(names)
        after = {image_id: _moved(segments.get(image_id, {}), steps) for image_id, steps in self.segments.items()}
        stale = clustering[0] != names.clustering or classes[0] != names.classes
        if stale or (moved := _moved(clusters, self.clusters)) is None or None in after.values():
            raise UsageError("this change was made from other names than there are now; load them again")
        ids = {named.name: number for number, named in enumerate(classes[1])}
        found = {**segments, **{image_id: known for image_id, known in after.items() if known is not None}}
        return Names(
            clustering[1],
            classes[1],
            {number: ids[name] for number, name in sorted(moved.items())},
            {
                image_id: {number: ids[name] for number, name in sorted(known.items())}
                for image_id, known in sorted(found.items())
                if known
            },
        )

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON has it, without what does not change."""
        written = {
            "clustering": self.clustering,
            "classes": self.classes and [[asdict(named) for named in state] for state in self.classes],
            "clusters": {str(number): step for number, step in self.clusters.items()},
            "segments": {image: {str(n): step for n, step in steps.items()} for image, steps in self.segments.items()},
        }
        return {name: value for name, value in written.items() if value}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Change:
        """Build a change from what :meth:`to_json` returned."""

        def steps(found: Mapping[str, Any]) -> dict[int, Step]:
            return {int(number): (before, after) for number, (before, after) in found.items()}

        states = [tuple(NamedClass(**named) for named in state) for state in kept.get("classes", ())]
        clustering = kept.get("clustering")
        return Change(
            (clustering[0], clustering[1]) if clustering else None,
            (states[0], states[1]) if states else None,
            steps(kept.get("clusters", {})),
            {image_id: steps(found) for image_id, found in kept.get("segments", {}).items()},
        )


def _by_name(names: Names) -> tuple[dict[int, str], dict[str, dict[int, str]]]:
    """Return clusters and segments with names of classes: their ids move where one is removed."""
    titles = [named.name for named in names.classes]
    segments = {image: {number: titles[c] for number, c in found.items()} for image, found in names.segments.items()}
    return {number: titles[c] for number, c in names.clusters.items()}, segments


def _steps(before: Mapping[int, str], after: Mapping[int, str]) -> dict[int, Step]:
    steps = {number: (before.get(number), after.get(number)) for number in sorted({*before, *after})}
    return {number: step for number, step in steps.items() if step[0] != step[1]}


def _moved(known: Mapping[int, str], steps: Mapping[int, Step]) -> dict[int, str] | None:
    """Return what belongs where after some steps; None where it did not belong where they begin."""
    if any(known.get(number) != before for number, (before, _) in steps.items()):
        return None
    moved = {**known, **{number: after for number, (_, after) in steps.items()}}
    return {number: name for number, name in moved.items() if name is not None}
