"""The animals of the scenes: proportions, and the coats that each species comes in."""

from __future__ import annotations

from dataclasses import dataclass

from datus2_ray.demo.scenes.canvas import Colour, rgb


@dataclass(frozen=True)
class Coat:
    """Colours of body, legs and head, belly, and of what is dark (hooves, nose, mane)."""

    body: Colour
    limb: Colour
    belly: Colour
    dark: Colour


@dataclass(frozen=True)
class Quadruped:
    """Proportions in units of the height at the shoulder; ``height`` itself in metres.

    ``girth`` and ``chest`` are the body's radii behind and in front, ``leg`` that of a leg. ``neck`` is length,
    thickness and angle of the raised neck in degrees, ``head`` length and thickness. ``fur`` runs from smooth (0) to
    woolly (1.6).
    """

    height: float
    length: float
    girth: float
    chest: float
    leg: float
    neck: tuple[float, float, float]
    head: tuple[float, float]
    ears: str
    horns: str
    tail: str
    fur: float
    pattern: str
    coats: tuple[Coat, ...]


def _coat(body: Colour, limb: Colour | None = None, belly: Colour | None = None, dark: Colour | None = None) -> Coat:
    return Coat(
        body,
        body * 0.85 if limb is None else limb,
        body * 1.15 if belly is None else belly,
        rgb(0.10, 0.08, 0.07) if dark is None else dark,
    )


_BLACK, _WHITE, _PINK = rgb(0.10, 0.09, 0.09), rgb(0.90, 0.88, 0.84), rgb(0.88, 0.64, 0.58)
_CHESTNUT, _TAN, _ORANGE = rgb(0.46, 0.23, 0.11), rgb(0.70, 0.52, 0.33), rgb(0.80, 0.42, 0.14)
_DUN, _GREY, _DARK = rgb(0.58, 0.40, 0.22), rgb(0.52, 0.50, 0.48), rgb(0.24, 0.15, 0.10)

QUADRUPEDS = {
    "cow": Quadruped(
        1.45, 1.15, 0.270, 0.255, 0.062, (0.34, 0.15, 22), (0.34, 0.105), "side", "short", "rope", 0.25, "patches",
        (_coat(_WHITE, _WHITE * 0.9, _WHITE, _BLACK), _coat(_CHESTNUT), _coat(_TAN),
         _coat(_WHITE, _WHITE * 0.9, _WHITE, _CHESTNUT)),
    ),
    "horse": Quadruped(
        1.60, 0.98, 0.215, 0.225, 0.052, (0.52, 0.125, 52), (0.36, 0.085), "up", "none", "hair", 0.15, "plain",
        (_coat(_CHESTNUT), _coat(_DARK), _coat(_GREY * 1.4, dark=rgb(0.40, 0.38, 0.38)), _coat(_DUN, _DARK)),
    ),
    "sheep": Quadruped(
        0.80, 0.98, 0.300, 0.290, 0.045, (0.24, 0.15, 34), (0.26, 0.085), "side", "none", "stub", 1.6, "wool",
        (_coat(_WHITE * 0.95, _BLACK * 1.4), _coat(_WHITE * 0.92, rgb(0.80, 0.74, 0.66)),
         _coat(rgb(0.36, 0.28, 0.22), _BLACK)),
    ),
    "deer": Quadruped(
        1.10, 0.92, 0.185, 0.195, 0.036, (0.42, 0.085, 56), (0.27, 0.068), "side", "antlers", "stub", 0.35, "fawn",
        (_coat(rgb(0.62, 0.37, 0.19), belly=rgb(0.88, 0.78, 0.66)),
         _coat(rgb(0.48, 0.34, 0.22), belly=rgb(0.76, 0.68, 0.58))),
    ),
    "dog": Quadruped(
        0.58, 1.05, 0.190, 0.215, 0.060, (0.26, 0.125, 46), (0.32, 0.105), "up", "none", "brush", 0.8, "saddle",
        (_coat(_ORANGE, _DARK, _WHITE), _coat(rgb(0.76, 0.56, 0.30)), _coat(_TAN, _TAN, _TAN * 1.2),
         _coat(_BLACK * 1.3, _TAN, _TAN)),
    ),
    "pig": Quadruped(
        0.80, 1.20, 0.310, 0.300, 0.070, (0.14, 0.20, 10), (0.34, 0.140), "up", "none", "stub", 0.12, "patches",
        (_coat(_PINK, dark=_BLACK * 1.5), _coat(_PINK * 0.95, dark=_PINK * 0.85)),
    ),
    "elephant": Quadruped(
        3.00, 1.05, 0.330, 0.330, 0.105, (0.20, 0.20, 30), (0.26, 0.190), "fan", "trunk", "rope", 0.10, "wrinkles",
        (_coat(_GREY * 0.95, belly=_GREY * 0.9, dark=_GREY * 0.5), _coat(rgb(0.52, 0.46, 0.40), dark=_GREY * 0.45)),
    ),
    "bear": Quadruped(
        1.15, 1.10, 0.300, 0.300, 0.110, (0.20, 0.20, 22), (0.30, 0.130), "round", "none", "stub", 1.0, "plain",
        (_coat(rgb(0.34, 0.21, 0.12)), _coat(rgb(0.20, 0.17, 0.15)), _coat(rgb(0.50, 0.34, 0.20))),
    ),
    "zebra": Quadruped(
        1.40, 0.98, 0.230, 0.235, 0.052, (0.46, 0.130, 48), (0.34, 0.090), "up", "none", "rope", 0.12, "stripes",
        (_coat(_WHITE, _WHITE * 0.95, _WHITE, _BLACK),),
    ),
}  # fmt: skip

# Swan and duck; the limb's colour is that of neck and head.
BIRDS = (
    Coat(_WHITE, _WHITE, _WHITE * 1.04, rgb(0.88, 0.42, 0.10)),
    Coat(rgb(0.46, 0.36, 0.27), rgb(0.10, 0.28, 0.18), rgb(0.62, 0.56, 0.48), rgb(0.85, 0.65, 0.15)),
)
