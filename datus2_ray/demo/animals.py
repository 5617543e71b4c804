"""Animals in side view: built of capsules, with coats of fur, wool, patches or stripes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datus2_ray.demo.canvas import Light, Sprite, palette
from datus2_ray.demo.noise import Floats, noise
from datus2_ray.demo.relief import Point, Relief

# Which colour of the coat a capsule wears.
_BODY, _LIMB, _BELLY, _DARK = range(4)


@dataclass(frozen=True)
class Species:
    """Proportions in units of the height at the shoulder; ``height`` itself in metres.

    ``girth`` and ``chest`` are the body's radii behind and in front, ``leg`` that of a leg. ``neck`` is length,
    thickness and angle of the raised neck in degrees, ``head`` length and thickness, ``ear`` the way to its tip in
    lengths of the head, ``tail`` the way to its tip and its radii, in the colour of the ``mane`` where there is one.
    ``fur`` runs from smooth (0) to woolly (1.6). ``coats`` are colours of body, legs, belly and of what is dark.
    """

    height: float
    length: float
    girth: float
    chest: float
    leg: float
    neck: tuple[float, float, float]
    head: tuple[float, float]
    ear: tuple[float, float]
    horn: float
    tail: tuple[float, float, float, float]
    mane: bool
    fur: float
    pattern: str
    coats: tuple[Floats, ...]


SPECIES = {
    "cow": Species(
        1.45, 1.15, 0.270, 0.255, 0.062, (0.34, 0.15, 22), (0.34, 0.105), (-0.38, 0.02), 0.15,
        (-0.08, -0.5, 0.026, 0.020), False, 0.25, "patches",
        (palette("e6e0d6 cfcac1 e6e0d6 1a1717"), palette("e6e0d6 cfcac1 e6e0d6 753b1c"),
         palette("753b1c 633218 874420 1a1412")),
    ),
    "horse": Species(
        1.60, 0.98, 0.215, 0.225, 0.052, (0.52, 0.125, 52), (0.36, 0.085), (-0.06, 0.34), 0.0,
        (-0.12, -0.55, 0.050, 0.062), True, 0.15, "plain",
        (palette("753b1c 633218 874420 1a1412"), palette("bab3ab 9e9891 d0c8c0 666161")),
    ),
    "sheep": Species(
        0.80, 0.98, 0.300, 0.290, 0.045, (0.24, 0.15, 34), (0.26, 0.085), (-0.38, 0.02), 0.0,
        (-0.05, -0.08, 0.050, 0.036), False, 1.6, "wool",
        (palette("dbd5cc 241f1f fcf5ea 1a1412"), palette("d4cfc5 ccbda8 f4eee3 1a1412")),
    ),
    "deer": Species(
        1.10, 0.92, 0.185, 0.195, 0.036, (0.42, 0.085, 56), (0.27, 0.068), (-0.38, 0.12), 0.0,
        (-0.05, -0.08, 0.050, 0.036), False, 0.35, "plain", (palette("9e5e30 865029 e0c7a8 1a1412"),),
    ),
    "zebra": Species(
        1.40, 0.98, 0.230, 0.235, 0.052, (0.46, 0.130, 48), (0.34, 0.090), (-0.06, 0.34), 0.0,
        (-0.08, -0.5, 0.026, 0.020), True, 0.12, "stripes", (palette("e6e0d6 dbd5cc e6e0d6 1a1717"),),
    ),
}  # fmt: skip

# Length of the neck and coat of swan and duck; the second colour is that of neck and head.
_BIRDS = ((0.80, palette("e6e0d6 e6e0d6 efe9de e06b1a")), (0.46, palette("755c45 1a472e 9e8f7a d9a626")))


def draw_quadruped(rng: np.random.Generator, light: Light, kind: Species, metre: float) -> Sprite:
    """Draw an animal, standing or grazing, at ``metre`` pixels per metre; it looks left or right."""
    unit = kind.height * metre * rng.uniform(0.9, 1.08)
    h, w = max(int(unit * 1.75), 6), max(int(unit * (kind.length + 1.35)), 8)
    fluff = np.float32(0.008 + 0.035 * min(kind.fur, 1.5))
    relief = Relief(unit, noise(rng, h, w, max(unit * 0.045, 1.2), octaves=3, gain=0.8) * fluff)
    _build(relief, rng, kind)
    coat = kind.coats[rng.integers(len(kind.coats))]
    tint = (rng.uniform(0.82, 1.12) * rng.uniform(0.96, 1.04, 3)).astype(np.float32)
    return relief.sprite(light, _pelt(rng, relief, kind, coat) * tint, bool(rng.random() < 0.5))


def _build(relief: Relief, rng: np.random.Generator, kind: Species) -> None:
    """Build the body: x runs to the head, y up from the ground, the shoulder is at y = 1."""
    half, girth, chest, leg = kind.length / 2 - kind.chest * 0.6, kind.girth, kind.chest, kind.leg
    spine = 1.0 - girth
    shoulder, hip = (half, 1.0 - chest), (-half, spine - 0.02)
    relief.add(hip, shoulder, (girth * 0.90, chest), _BODY)
    # Runners are drawn up behind the ribs, grazers hang.
    tuck, sag = (0.72 if girth < 0.24 else 0.98), girth * 0.14
    relief.add((-half * 0.5, spine - sag * tuck), (half * 0.7, spine - sag), (girth * tuck, girth), _BODY)
    # Haunch and shoulder stand out from the barrel of the body.
    relief.add((hip[0] - 0.02, hip[1] - 0.02), (hip[0] + 0.04, 0.62), (girth * 0.88, leg * 2.0), _BODY, 0.05)
    relief.add((half * 1.05, shoulder[1] + 0.02), (half * 1.10, 0.62), (chest * 0.78, leg * 1.8), _BODY, 0.05)
    for depth, role, spread in ((-0.30, _LIMB, 0.09), (-0.02, _BODY, 0.0)):
        for x, top, thigh in ((half * 1.02, shoulder[1], leg * 1.9), (-half * 1.08, hip[1], leg * 2.3)):
            stride = rng.uniform(-0.07, 0.07) + rng.choice([-spread, spread])
            start, knee, foot = (x, top - girth * 0.3), (x + stride * 0.4, top * 0.48), (x + stride, leg * 0.7)
            relief.add(start, knee, (thigh, leg * 1.05), role, depth)
            relief.add(knee, foot, (leg * 0.95, leg * 0.72), _LIMB, depth)
            relief.add(foot, (foot[0] + leg * 0.5, leg * 0.35), (leg * 0.85, leg * 0.7), _DARK, depth)
    _add_head_and_neck(relief, rng, kind, (shoulder[0] + chest * 0.22, shoulder[1] + chest * 0.18))
    (back, down, thick, tip), swing = kind.tail, rng.uniform(0.6, 1.4)
    root = (hip[0] - girth * 0.85, hip[1] + girth * 0.45)
    relief.add(root, (root[0] + back * swing, root[1] + down), (thick, tip), _DARK if kind.mane else _BODY)


def _add_head_and_neck(relief: Relief, rng: np.random.Generator, kind: Species, start: Point) -> None:
    (length, thick, up), (size, cheek) = kind.neck, kind.head
    grazing = rng.random() < 0.4
    angle = np.deg2rad(rng.uniform(-58, -44) if grazing else up + rng.uniform(-10, 10))
    if grazing:
        # The head reaches the ground, however short the neck seems when it is up.
        length = max(length, (start[1] - 0.22) / float(np.sin(-angle)) - size * 0.55)
    nape = (start[0] + np.cos(angle) * length, start[1] + np.sin(angle) * length)
    tilt = np.deg2rad(-62 if grazing else rng.uniform(-36, -20))
    along, down = np.cos(tilt), np.sin(tilt)
    nose = (nape[0] + along * size, nape[1] + down * size)
    snout = (nose[0] + along * cheek * 0.35, nose[1] + down * cheek * 0.35)
    eye = (nape[0] + along * size * 0.28 - down * cheek * 0.3, nape[1] + down * size * 0.28 + cheek * 0.30)
    back = (nape[0] - along * cheek * 0.35, nape[1] - down * cheek * 0.2 + cheek * 0.6)
    relief.add(start, nape, (thick * 1.75, thick), _BODY, 0.02)
    relief.add(nape, nose, (cheek, cheek * 0.62), _LIMB if kind.pattern == "wool" else _BODY, 0.06)
    relief.add(nose, snout, (cheek * 0.5, cheek * 0.42), _DARK, 0.06)
    relief.add(eye, eye, (cheek * 0.17, cheek * 0.17), _DARK, 0.3)
    ear = (back[0] + kind.ear[0] * size, back[1] + kind.ear[1] * size)
    relief.add(back, ear, (cheek * 0.32, cheek * 0.11), _LIMB, 0.12)
    if kind.mane:
        crest = (start[0] - thick * 0.5, start[1] + thick * 1.3)
        relief.add(crest, (nape[0] - cheek * 0.5, nape[1] + cheek * 0.7), (thick * 0.42, thick * 0.30), _DARK, 0.06)
    if kind.horn and rng.random() < 0.7:
        relief.add(back, (back[0] - 0.3 * kind.horn, back[1] + kind.horn), (0.022, 0.010), _BELLY, 0.14)


def _pelt(rng: np.random.Generator, relief: Relief, kind: Species, coat: Floats) -> Floats:
    """Return the colours [H, W, 3] of a coat with its markings and hair."""
    (h, w), unit = relief.front.shape, relief.unit
    hair = noise(rng, h, w, max(unit * 0.030, 1.2), stretch=0.4) + 0.5 * noise(rng, h, w, 1.0)
    brightness = 1.0 + (0.035 + 0.055 * kind.fur) * hair
    marked, marking = np.zeros((h, w), np.float32), coat[_DARK]
    if kind.pattern == "patches":
        marked = (noise(rng, h, w, max(unit * 0.34, 2.0), octaves=3, gain=0.4) - rng.uniform(-0.2, 0.5)) * unit * 0.25
    elif kind.pattern == "stripes":
        warp = noise(rng, h, w, max(unit * 0.25, 2.0), octaves=2)
        marked = (np.sin((relief.x + 0.12 * relief.y) * 46.0 + warp * 1.3) - 0.1) * max(unit * 0.03, 1.5)
    elif kind.pattern == "wool":
        curls = np.abs(noise(rng, h, w, max(unit * 0.075, 1.4), octaves=2, gain=0.7))
        brightness *= np.where(relief.role == _BODY, 0.72 + 0.34 * np.clip(curls, 0, 1.4), 1.0)
    else:
        marked, marking = (0.62 - relief.y) * 3.5 + np.zeros_like(marked), coat[_BELLY]
    share = (np.clip(marked, 0.0, 1.0) * (relief.role == _BODY))[..., None]
    colours = coat[relief.role] * (1.0 - share) + marking * share
    return np.asarray(colours * brightness[..., None], np.float32)


def draw_swimmer(rng: np.random.Generator, light: Light, metre: float) -> Sprite:
    """Draw a swan or a duck on the water at ``metre`` pixels per metre."""
    unit = metre * rng.uniform(0.85, 1.15)
    h, w = max(int(unit * 1.25), 6), max(int(unit * 1.9), 8)
    neck, coat = _BIRDS[rng.integers(len(_BIRDS))]
    relief = Relief(unit, noise(rng, h, w, max(unit * 0.08, 1.2), octaves=2) * np.float32(0.05))
    relief.add((-0.34, 0.16), (0.26, 0.12), (0.16, 0.24), _BODY)
    relief.add((-0.40, 0.24), (-0.68, 0.34), (0.12, 0.03), _BODY)
    relief.add((-0.40, 0.26), (0.12, 0.22), (0.11, 0.19), _BELLY, 0.06)
    relief.add((0.34, 0.20), (0.46, neck * 0.6), (0.11, 0.07), _LIMB)
    relief.add((0.46, neck * 0.6), (0.40, neck), (0.07, 0.06), _LIMB)
    relief.add((0.40, neck), (0.50, neck - 0.01), (0.08, 0.07), _LIMB, 0.02)
    relief.add((0.55, neck - 0.02), (0.70, neck - 0.06), (0.045, 0.025), _DARK)
    feathers = 1.0 + 0.10 * noise(rng, h, w, max(unit * 0.03, 1.2), stretch=2.2)
    return relief.sprite(light, coat[relief.role] * feathers[..., None], bool(rng.random() < 0.5))
