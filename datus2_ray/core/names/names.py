"""Names: classes, and which of them the fine clusters and single segments of a run belong to.

Fine clusters do not depend on K, so neither do names: another number of clusters is only another view of them.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.palette import palette
from datus2_ray.errors import UsageError

#: Of what has no class.
UNNAMED = -1

#: Max characters of the name of a class.
LONGEST = 80

#: Colours that the colour-blind can tell apart, for the first classes (Okabe and Ito, 2008, without black).
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")


@dataclass(frozen=True)
class NamedClass:
    """A class; pixels of one with `ignore` are left out of masks and scores.

    Raises
    ------
    UsageError
        If the name is empty, too long or not printable, or the colour is not ``#rrggbb``.
    """

    name: str
    colour: str
    ignore: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name != self.name.strip() or not self.name.isprintable():
            raise UsageError(f"{self.name!r} is no name of a class: it takes printable text, without spaces around it")
        if len(self.name) > LONGEST:
            raise UsageError(f"the name of class {self.name[:20]!r}… has {len(self.name)} characters, max {LONGEST}")
        if not re.fullmatch("#[0-9a-f]{6}", self.colour):
            raise UsageError(
                f"class {self.name!r} has the colour {self.colour!r}; write it as '#rrggbb', in lower case"
            )


@dataclass(frozen=True)
class Names:
    """Classes, and what belongs to them.

    Parameters
    ----------
    clustering : str
        Fingerprint of the clustering whose fine clusters are named.
    classes : tuple of NamedClass
        The id of a class is its position.
    clusters : mapping of int to int
        Class id of fine clusters, by their number.
    segments : mapping of str to mapping of int to int
        Class id of single segments that differ from their cluster, by image id and number of the segment.

    Raises
    ------
    UsageError
        If two classes have the same name but for its case, or something belongs to a class that is not there.
    """

    clustering: str
    classes: tuple[NamedClass, ...] = ()
    clusters: Mapping[int, int] = field(default_factory=dict)
    segments: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for named in self.classes:
            if (other := seen.setdefault(_folded(named.name), named.name)) != named.name:
                raise UsageError(
                    f"classes {other!r} and {named.name!r} differ only in case or in how a letter is coded; give one "
                    "of them another name"
                )
        if len(seen) < len(self.classes):
            raise UsageError("two classes have the same name; join them, or give one of them another name")
        used = {*self.clusters.values(), *(number for found in self.segments.values() for number in found.values())}
        if used and not 0 <= min(used) <= max(used) < len(self.classes):
            raise UsageError(f"class {max(used, key=abs)} is not one of the {len(self.classes)} classes")

    @property
    def is_empty(self) -> bool:
        """Whether nothing belongs to any class."""
        return not self.clusters and not self.segments

    def find(self, name: str) -> int | None:
        """Return the id of the class of a name, whatever its case; None where there is none."""
        names = [_folded(named.name) for named in self.classes]
        return names.index(_folded(name)) if _folded(name) in names else None

    def class_id(self, name: str) -> int:
        """Return the id of the class of a name; raise a UsageError if there is none."""
        if (found := self.find(name)) is None:
            known = ", ".join(named.name for named in self.classes) or "none"
            raise UsageError(f"unknown class {name!r}; there are {known}")
        return found

    def of_fine(self, leaves: int) -> NDArray[np.int32]:
        """Return the class of each of M fine clusters, int32 [M], -1 where unnamed.

        Raises
        ------
        UsageError
            If a fine cluster is named that does not exist.
        """
        self.check_clusters(leaves)
        classes = np.full(leaves, UNNAMED, np.int32)
        classes[list(self.clusters)] = list(self.clusters.values())
        return classes

    def of_segments(self, image_id: str, fine: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """Return the class of every segment of an image, int32 [S], -1 where unnamed.

        Parameters
        ----------
        fine : int [S]
            Nearest fine cluster of every segment.

        Raises
        ------
        UsageError
            If a single segment is named that the image does not have.
        """
        classes = np.array([self.clusters.get(number, UNNAMED) for number in fine.tolist()], np.int32)
        own = self.segments.get(image_id, {})
        if own and not 0 <= min(own) <= max(own) < len(classes):
            raise UsageError(
                f"image {image_id!r} has {len(classes)} segments, and segment {max(own, key=abs)} is named"
            )
        classes[list(own)] = list(own.values())
        return classes

    def check_clusters(self, leaves: int) -> None:
        """Raise a UsageError if a fine cluster is named that is not one of `leaves`."""
        beyond = [number for number in self.clusters if not 0 <= number < leaves]
        if beyond:
            raise UsageError(f"fine cluster {beyond[0]} is named, and there are {leaves}: 0 to {leaves - 1}")

    def check_clustering(self, clustering: str) -> None:
        """Raise a UsageError if these are names of another clustering."""
        if self.clustering != clustering and not self.is_empty:
            raise UsageError(
                f"names.yaml names the fine clusters of clustering {self.clustering[:12]}, and this run has "
                f"{clustering[:12]}; `datus2 name RUN --carry-over` maps them by overlap"
            )

    def fingerprint(self) -> str:
        """Return a hash of all of it, which does not depend on the order of naming."""
        content = [
            self.clustering,
            [asdict(named) for named in self.classes],
            sorted(self.clusters.items()),
            [(image_id, sorted(found.items())) for image_id, found in sorted(self.segments.items())],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _folded(name: str) -> str:
    """Return what two names that a person takes for one have in common: whatever their case and composed letters."""
    return unicodedata.normalize("NFC", name).casefold()


def free_colour(taken: Iterable[NamedClass]) -> str:
    """Return a colour for one more class: the first that none has."""
    used: Sequence[str] = [named.colour for named in taken]
    more = ("#" + bytes(rgb).hex() for rgb in palette(len(used) + 1).tolist())
    # After 2,048 classes the palette begins again.
    return next((colour for colour in (*COLOURS, *more) if colour not in used), COLOURS[0])
