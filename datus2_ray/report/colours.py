"""The colours of all pictures follow the scores: a cluster has the colour of the class that it is matched to.

So a good mask looks like the ground truth. A cluster without a class, whose pixels count as wrong, has a colour of its
own with stripes. Without ground truth every cluster has a colour of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.palette import palette
from datus2_ray.sources.layouts import known

RGB = NDArray[np.uint8]

#: Base and line of diagonal hatches: a flat black or grey could be taken for a class.
HATCHES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "noise": ((24, 26, 31), (70, 74, 84)),
    "void": ((236, 236, 232), (196, 196, 190)),
}

#: Pixels from one line of a hatch to the next.
PERIOD = 8


@dataclass(frozen=True)
class Colours:
    """Colours of clusters or classes, shape (n, 3), and which of them are drawn with stripes, shape (n,)."""

    rgb: RGB
    striped: NDArray[np.bool_]


def class_colours(dataset: str, classes: int) -> Colours:
    """Return the data set's own colours, or well separated ones if it has none."""
    own = known.find(dataset).palette
    return Colours(palette(classes) if own is None else own[:classes], np.zeros(classes, dtype=bool))


def cluster_colours(clusters: int, matching: Sequence[int | None] | None, classes: Colours | None) -> Colours:
    """Return colours of K clusters: of the class that `matching` has for each, or of their own without ground truth."""
    if matching is None or classes is None:
        return Colours(palette(clusters), np.zeros(clusters, dtype=bool))
    striped = np.array([label is None for label in matching], dtype=bool)
    matched = np.array([0 if label is None else label for label in matching], dtype=np.int64)
    rgb = classes.rgb[matched]
    rgb[striped] = _away_from(classes.rgb, int(striped.sum()))
    return Colours(rgb, striped)


def _away_from(taken: RGB, count: int) -> RGB:
    """Return colours of the palette that are not close to any of those taken, if there are enough."""
    candidates = palette(256 + count)
    distances = np.abs(candidates[:, None].astype(np.int16) - taken).sum(axis=2).min(axis=1)
    far = candidates[distances > 90]
    return (far if len(far) >= count else candidates)[:count]


def paint_labels(labels: NDArray[np.unsignedinteger], colours: Colours, rest: Literal["noise", "void"]) -> RGB:
    """Colour a label map; labels without a colour get the hatch `rest`.

    At least three quarters of the pixels of a striped cluster keep its colour.
    """
    height, width = labels.shape
    line = (np.arange(height)[:, None] + np.arange(width)) % PERIOD < PERIOD // 4
    base, stroke = HATCHES[rest]
    n = len(colours.rgb)
    lines = np.where(colours.striped[:, None], 255 - (255 - colours.rgb.astype(np.int64)) * 2 // 5, colours.rgb)
    flat_table = np.vstack([colours.rgb, [base]]).astype(np.uint8)
    line_table = np.vstack([lines, [stroke]]).astype(np.uint8)
    index = np.minimum(labels, n)
    painted: RGB = np.where(line[:, :, None], line_table[index], flat_table[index])
    return painted


def to_hex(colour: Iterable[int]) -> str:
    """Return a colour as in CSS."""
    return "#" + "".join(f"{channel:02x}" for channel in colour)
