"""What stages say of images: what was read, counted, packed, and written for others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from datus2_ray.store.facts.base import Facts


@dataclass(frozen=True)
class Ingested(Facts):
    """``dataset`` is the layout that was found; ``kept_in`` is the source if its shards hold the images, else None.

    ``longest`` is the longest side of all images in pixels. ``bands``, ``ranges``, ``max_megapixels`` and ``crop`` say
    how all images become 8-bit RGB, see :class:`~datus2_ray.core.images.rendering.Rendering`. ``notes`` count the
    images with which something was done that a user may want to know.
    """

    stage: ClassVar[str] = "ingest"
    dataset: str
    kept_in: str | None = None
    bands: tuple[int, ...] = ()
    ranges: tuple[tuple[str, float, float], ...] = ()
    max_megapixels: int = 110
    notes: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    crop: int | None = None


@dataclass(frozen=True)
class Surveyed(Facts):
    """Number of images with ground truth, and the names of its classes.

    ``codes`` are their ids in the ground truth, or their colours 0xRRGGBB if ``by_colour``. ``scored`` is False where
    fewer than two classes occur. ``found`` is a line on what occurs. ``unusable`` counts the masks that cannot be used
    by kind, and ``example`` is one of them.
    """

    stage: ClassVar[str] = "survey"
    labelled: int
    classes: tuple[str, ...]
    codes: tuple[int, ...] = ()
    by_colour: bool = False
    scored: bool = True
    found: str = ""
    unusable: dict[str, int] = field(default_factory=dict)
    example: str = ""

    def describe(self) -> list[str]:
        """Return a line on the classes, and one on the masks that cannot be used, if there are any."""
        lines = []
        if self.labelled:
            scores = "" if self.scored else "; fewer than two classes occur, so nothing is scored"
            lines.append(f"ground truth of {self.labelled:,} images: {self.found}{scores}")
        if self.unusable:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.unusable.items())
            total = sum(self.unusable.values())
            lines.append(
                f"masks that cannot be used: {total:,} ({kinds}), such as {self.example}; their images are used, but "
                "not scored"
            )
        return lines


@dataclass(frozen=True)
class Sharded(Facts):
    """The layout whose classes the masks in the shards hold; ``unusable`` counts masks left out by kind."""

    stage: ClassVar[str] = "shards"
    dataset: str
    unusable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported(Facts):
    """The format, the set of masks, and the files of the whole set; all files are in a folder of the format's name."""

    stage: ClassVar[str] = "export"
    format: str
    masks: str
    files: tuple[str, ...]
