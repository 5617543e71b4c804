"""Animals in side view: built of capsules, with coats of fur, wool, spots or stripes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from datus2_ray.demo.scenes.canvas import Colour, Light, Sprite
from datus2_ray.demo.scenes.noise import Floats, fractal_noise, value_noise
from datus2_ray.demo.scenes.relief import BELLY, BODY, DARK, LIMB, Point, Relief
from datus2_ray.demo.scenes.species import BIRDS, Coat, Quadruped


def draw_quadruped(rng: np.random.Generator, light: Light, kind: Quadruped, metre: float) -> Sprite:
    """Draw an animal, standing or grazing, at ``metre`` pixels per metre; it looks left or right."""
    unit = kind.height * metre * rng.uniform(0.9, 1.08)
    h, w = max(int(unit * 1.75), 6), max(int(unit * (kind.length + 1.35)), 8)
    flipped = bool(rng.random() < 0.5)
    fluff = np.float32(0.008 + 0.035 * min(kind.fur, 1.5))
    relief = Relief(h, w, unit, fractal_noise(rng, h, w, max(unit * 0.045, 1.2), octaves=3, gain=0.8) * fluff)
    _build(relief, rng, kind)
    coat = kind.coats[rng.integers(len(kind.coats))]
    tint = (rng.uniform(0.82, 1.12) * rng.uniform(0.96, 1.04, 3)).astype(np.float32)
    return relief.sprite(light, coat, tint, _pelt(rng, relief, kind, coat), flipped)


def _build(relief: Relief, rng: np.random.Generator, kind: Quadruped) -> None:
    """Build the body: x runs to the head, y up from the ground, the shoulder is at y = 1."""
    half = kind.length / 2 - kind.chest * 0.6
    spine = 1.0 - kind.girth
    shoulder, hip = (half, 1.0 - kind.chest), (-half, spine - 0.02)
    relief.add(hip, shoulder, (kind.girth * 0.90, kind.chest), BODY)
    # Runners are drawn up behind the ribs, grazers hang.
    tuck = 0.72 if kind.girth < 0.24 else 0.98
    sag = kind.girth * 0.14
    relief.add((-half * 0.5, spine - sag * tuck), (half * 0.7, spine - sag), (kind.girth * tuck, kind.girth), BODY)
    # Haunch and shoulder stand out from the barrel of the body.
    relief.add((hip[0] - 0.02, hip[1] - 0.02), (hip[0] + 0.04, 0.62), (kind.girth * 0.88, kind.leg * 2.0), BODY, 0.05)
    relief.add((half * 1.05, shoulder[1] + 0.02), (half * 1.10, 0.62), (kind.chest * 0.78, kind.leg * 1.8), BODY, 0.05)
    for near in (False, True):
        depth = -0.02 if near else -0.30
        for x, top in ((half * 1.02, shoulder[1]), (-half * 1.08, hip[1])):
            _leg(relief, rng, kind, x, top - kind.girth * 0.3, depth, near, hind=x < 0)
    _head_and_neck(relief, rng, kind, shoulder)
    _tail(relief, rng, kind, hip)


def _leg(
    relief: Relief,
    rng: np.random.Generator,
    kind: Quadruped,
    x: float,
    top: float,
    depth: float,
    near: bool,
    hind: bool,
) -> None:
    stride = rng.uniform(-0.07, 0.07) + (0.0 if near else rng.choice([-0.09, 0.09]))
    knee = (x + stride * 0.4 + (0.03 if hind else 0.0), top * 0.48)
    foot = (x + stride - (0.02 if hind else 0.0), kind.leg * 0.7)
    thigh = kind.leg * (2.3 if hind else 1.9)
    relief.add((x, top), knee, (thigh, kind.leg * 1.05), BODY if near else LIMB, depth)
    relief.add(knee, foot, (kind.leg * 0.95, kind.leg * 0.72), LIMB, depth)
    relief.add(foot, (foot[0] + kind.leg * 0.5, kind.leg * 0.35), (kind.leg * 0.85, kind.leg * 0.7), DARK, depth)


def _head_and_neck(relief: Relief, rng: np.random.Generator, kind: Quadruped, shoulder: Point) -> None:
    length, thick, up = kind.neck
    grazing = kind.horns != "trunk" and kind.ears != "round" and rng.random() < 0.4
    angle = np.deg2rad(rng.uniform(-58, -44) if grazing else up + rng.uniform(-10, 10))
    start = (shoulder[0] + kind.chest * 0.22, shoulder[1] + kind.chest * 0.18)
    if grazing:
        # The head reaches the ground, however short the neck seems when it is up.
        length = max(length, (start[1] - 0.22) / float(np.sin(-angle)) - kind.head[0] * 0.55)
    nape = (start[0] + np.cos(angle) * length, start[1] + np.sin(angle) * length)
    relief.add(start, nape, (thick * 1.75, thick), BODY, 0.02)
    tilt = np.deg2rad(-62 if grazing else -28 + rng.uniform(-8, 8))
    size, cheek = kind.head
    nose = (nape[0] + np.cos(tilt) * size, nape[1] + np.sin(tilt) * size)
    relief.add(nape, nose, (cheek, cheek * 0.62), LIMB if kind.pattern == "wool" else BODY, 0.06)
    snout = (nose[0] + np.cos(tilt) * cheek * 0.35, nose[1] + np.sin(tilt) * cheek * 0.35)
    relief.add(nose, snout, (cheek * 0.5, cheek * 0.42), DARK if kind.horns != "trunk" else BODY, 0.06)
    eye = (
        nape[0] + np.cos(tilt) * size * 0.28 - np.sin(tilt) * cheek * 0.3,
        nape[1] + np.sin(tilt) * size * 0.28 + cheek * 0.30,
    )
    relief.add(eye, eye, (cheek * 0.17, cheek * 0.17), DARK, 0.3)
    if kind.tail == "hair":
        crest = (start[0] - thick * 0.5, start[1] + thick * 1.3)
        relief.add(crest, (nape[0] - cheek * 0.5, nape[1] + cheek * 0.7), (thick * 0.42, thick * 0.30), DARK, 0.06)
    _ears_and_horns(relief, rng, kind, nape, nose)


def _ears_and_horns(relief: Relief, rng: np.random.Generator, kind: Quadruped, nape: Point, nose: Point) -> None:
    size, cheek = kind.head
    slant = ((nose[0] - nape[0]) / size, (nose[1] - nape[1]) / size)
    back = (nape[0] - slant[0] * cheek * 0.35, nape[1] - slant[1] * cheek * 0.2 + cheek * 0.6)
    if kind.ears == "side":
        relief.add(back, (back[0] - size * 0.38, back[1] + size * 0.02), (cheek * 0.30, cheek * 0.12), LIMB, 0.12)
    elif kind.ears == "up":
        relief.add(back, (back[0] - size * 0.06, back[1] + size * 0.34), (cheek * 0.34, cheek * 0.10), LIMB, 0.10)
    elif kind.ears == "round":
        relief.add(back, (back[0] - 0.02, back[1] + 0.05), (cheek * 0.40, cheek * 0.36), LIMB, 0.08)
    elif kind.ears == "fan":
        relief.add((back[0], back[1] - 0.04), (back[0] - 0.10, back[1] - 0.26), (0.15, 0.11), LIMB, 0.16)
    if kind.horns == "short":
        relief.add(back, (back[0] + 0.02, back[1] + 0.15), (0.026, 0.010), BELLY, 0.14)
    elif kind.horns == "antlers" and rng.random() < 0.6:
        tip = (back[0] - 0.10, back[1] + 0.30)
        relief.add(back, tip, (0.020, 0.014), DARK, 0.12)
        for share in (0.35, 0.65, 0.95):
            root = (back[0] - 0.10 * share, back[1] + 0.30 * share)
            relief.add(root, (root[0] + 0.11, root[1] + 0.10), (0.014, 0.008), DARK, 0.12)
    elif kind.horns == "trunk":
        low = (nose[0] + 0.06, 0.35)
        relief.add(nose, low, (cheek * 0.55, cheek * 0.36), BODY, 0.06)
        relief.add(low, (low[0] + rng.uniform(-0.12, 0.10), 0.10), (cheek * 0.36, cheek * 0.22), BODY, 0.06)
        relief.add(nose, (nose[0] + 0.18, nose[1] - 0.14), (0.030, 0.014), BELLY, 0.20)


def _tail(relief: Relief, rng: np.random.Generator, kind: Quadruped, hip: Point) -> None:
    root = (hip[0] - kind.girth * 0.85, hip[1] + kind.girth * 0.45)
    swing = rng.uniform(0.02, 0.12)
    if kind.tail == "rope":
        end = (root[0] - swing, 0.38)
        relief.add(root, end, (0.026, 0.016), BODY, 0.0)
        relief.add(end, (end[0], end[1] - 0.08), (0.034, 0.030), DARK, 0.0)
    elif kind.tail == "hair":
        relief.add(root, (root[0] - swing - 0.04, 0.34), (0.050, 0.062), DARK, 0.0)
    elif kind.tail == "brush":
        relief.add(root, (root[0] - 0.34, root[1] + rng.uniform(-0.25, 0.22)), (0.050, 0.085), BODY, 0.0)
    else:
        relief.add(root, (root[0] - 0.05, root[1] - 0.08), (0.050, 0.036), BODY, 0.0)


def _pelt(rng: np.random.Generator, relief: Relief, kind: Quadruped, coat: Coat) -> Floats:
    """Return the factors [H, W, 3] by which fur and markings change the colours."""
    (h, w), unit = relief.front.shape, relief.unit
    hair = value_noise(rng, h, w, max(unit * 0.030, 1.2), stretch=0.4) + 0.5 * value_noise(rng, h, w, 1.0)
    dirt = fractal_noise(rng, h, w, max(unit * 0.3, 2.0), octaves=3)
    paint = np.ones((h, w, 3), np.float32) * (1.0 + (0.035 + 0.055 * kind.fur) * hair + 0.05 * dirt)[..., None]
    body = relief.role == BODY

    def mark(where: NDArray[np.floating], colour: Colour) -> None:
        ratio = colour / np.maximum(coat.body, 0.04)
        share = (np.clip(where, 0.0, 1.0) * body)[..., None]
        paint[:] = paint * (1 - share) + paint * ratio * share

    if kind.pattern == "patches":
        field = fractal_noise(rng, h, w, max(unit * 0.34, 2.0), octaves=3, gain=0.4)
        if rng.random() < 0.75:
            mark((field - rng.uniform(-0.2, 0.5)) * unit * 0.25, coat.dark)
    elif kind.pattern == "stripes":
        warp = fractal_noise(rng, h, w, max(unit * 0.25, 2.0), octaves=2)
        wave = np.sin((relief.x * 1.0 + 0.12 * relief.y) * 46.0 + warp * 1.3)
        mark((wave - 0.1) * max(unit * 0.03, 1.5), coat.dark)
    elif kind.pattern == "fawn":
        dots = value_noise(rng, h, w, max(unit * 0.045, 1.3)) - 1.9
        if rng.random() < 0.5:
            mark(dots * 3.0 * (relief.y > 0.72), coat.belly)
    elif kind.pattern == "saddle":
        edge = relief.y - 0.84 + 0.05 * fractal_noise(rng, h, w, max(unit * 0.1, 1.5), octaves=2)
        mark(edge * unit * 0.2, coat.dark * 1.6)
    elif kind.pattern == "wool":
        curls = np.abs(fractal_noise(rng, h, w, max(unit * 0.075, 1.4), octaves=2, gain=0.7))
        paint *= np.where(body, 0.72 + 0.34 * np.clip(curls, 0, 1.4), 1.0)[..., None].astype(np.float32)
    elif kind.pattern == "wrinkles":
        folds = np.abs(fractal_noise(rng, h, w, max(unit * 0.06, 1.4), octaves=3, stretch=2.2))
        paint *= (0.80 + 0.22 * np.clip(folds, 0, 1.4))[..., None]
    belly = np.clip((0.62 - relief.y) * 5.0, 0.0, 1.0) * np.float32(kind.pattern in ("fawn", "saddle", "plain"))
    mark(belly * 0.7, coat.belly)
    return paint


def draw_swimmer(rng: np.random.Generator, light: Light, metre: float) -> Sprite:
    """Draw a swan or a duck on the water at ``metre`` pixels per metre."""
    unit = metre * rng.uniform(0.85, 1.15)
    h, w = max(int(unit * 1.25), 6), max(int(unit * 1.9), 8)
    swan, flipped = bool(rng.random() < 0.6), bool(rng.random() < 0.5)
    relief = Relief(h, w, unit, fractal_noise(rng, h, w, max(unit * 0.08, 1.2), octaves=2) * np.float32(0.05))
    relief.add((-0.34, 0.16), (0.26, 0.12), (0.16, 0.24), BODY)
    relief.add((-0.40, 0.24), (-0.68, 0.34), (0.12, 0.03), BODY)
    relief.add((-0.40, 0.26), (0.12, 0.22), (0.11, 0.19), BELLY, 0.06)
    tall = 0.80 if swan else 0.46
    relief.add((0.34, 0.20), (0.46, tall * 0.6), (0.11, 0.07), LIMB)
    relief.add((0.46, tall * 0.6), (0.40, tall), (0.07, 0.06), LIMB)
    relief.add((0.40, tall), (0.50, tall - 0.01), (0.08, 0.07), LIMB, 0.02)
    relief.add((0.55, tall - 0.02), (0.70, tall - 0.06), (0.045, 0.025), DARK)
    feathers = 1.0 + 0.10 * value_noise(rng, h, w, max(unit * 0.03, 1.2), stretch=2.2)
    paint = np.repeat(feathers[:, :, None], 3, axis=2)
    return relief.sprite(light, BIRDS[0 if swan else 1], np.ones(3, np.float32), paint, flipped)
