"""Protocols: which part of an image counts, and at which size it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from datus2_ray.config.base import StageConfig
from datus2_ray.errors import UsageError

ProtocolName = Literal["datus2", "stego"]


@dataclass(frozen=True)
class Protocol:
    """What a protocol does to images and ground truth.

    Parameters
    ----------
    description : str
        A line for the report.
    crop : int or None
        Side in pixels of the square in the middle that is seen and scored; None for whole images at their own size.
    mirrored : bool
        Whether vectors and predictions are the means of those of an image and of its mirror image.
    """

    description: str
    crop: int | None = None
    mirrored: bool = False


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "datus2": Protocol("whole images, scored at the size of their ground truth"),
    "stego": Protocol(
        "the middle 320 × 320 pixels of images and ground truth whose shorter side is resized to 320; vectors are "
        "means over an image and its mirror image",
        crop=320,
        mirrored=True,
    ),
}

#: Stages with a setting ``mirror``.
MIRRORED = ("discover", "refine")


def with_mirror(given: Any) -> Any:
    """Return the settings of a run with the mirror images that its protocol asks for, whatever a preset says."""
    if not _is_mirrored(given):
        return given
    stages = {name: given.get(name) or {} for name in MIRRORED}
    values = {name: part.model_dump() if isinstance(part, StageConfig) else part for name, part in stages.items()}
    return {**given, **{name: {**part, "mirror": True} for name, part in values.items() if isinstance(part, dict)}}


def check_mirror(given: Any) -> None:
    """Raise a UsageError if settings that were given, not those of a preset, leave out mirror images that count."""
    for name in MIRRORED if _is_mirrored(given) else ():
        stage = given.get(name)
        if isinstance(stage, dict) and stage.get("mirror") is False:
            raise UsageError(
                f"{name}.mirror = False does not fit protocol = {given['protocol']}, which takes means over an "
                f"image and its mirror image; leave {name}.mirror out"
            )


def _is_mirrored(given: Any) -> bool:
    name = given.get("protocol") if isinstance(given, dict) else None
    return isinstance(name, str) and any(known == name and found.mirrored for known, found in PROTOCOLS.items())
