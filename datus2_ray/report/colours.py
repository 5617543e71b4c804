"""One colour rule for all pictures, that of the scores: a cluster has the colour of the class it is matched to.

So a good mask looks like the ground truth. A cluster that is matched to no class, whose pixels count as wrong, has a
colour of its own with stripes; without ground truth every cluster simply has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datus2_ray.core.images.palette import palette
from datus2_ray.sources import layouts

RGB = NDArray[np.uint8]

#: Diagonal hatches, base and line: data sets use black and grey for classes, so a flat one could be mistaken.
HATCHES: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "noise": ((24, 26, 31), (70, 74, 84)),
    "void": ((236, 236, 232), (196, 196, 190)),
}

#: Pixels from one line of a hatch to the next.
PERIOD = 8


@dataclass(frozen=True)
class Colours:
    """Colours of clusters or classes.

    Parameters
    ----------
    rgb : ndarray of uint8
        Shape (n, 3).
    striped : ndarray of bool
        Which of them are drawn with stripes, shape (n,).
    """

    rgb: RGB
    striped: NDArray[np.bool_]


def class_colours(dataset: str, classes: int) -> Colours:
    """Give the data set's own colours, which its users know, or well separated ones where it has none.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    classes : int
        C.
    """
    own = layouts.find(dataset).palette
    return Colours(palette(classes) if own is None else own[:classes], np.zeros(classes, dtype=bool))


def cluster_colours(clusters: int, matching: Sequence[int | None] | None, classes: Colours | None) -> Colours:
    """Give every cluster the colour of its class, or one of its own.

    Parameters
    ----------
    clusters : int
        K.
    matching : sequence of int or None, optional
        The class of every cluster, as ``metrics.json`` has it; None without ground truth.
    classes : Colours, optional
        Colours of the classes; None without ground truth.
    """
    if matching is None or classes is None:
        return Colours(palette(clusters), np.zeros(clusters, dtype=bool))
    striped = np.array([label is None for label in matching], dtype=bool)
    matched = np.array([0 if label is None else label for label in matching], dtype=np.int64)
    rgb = classes.rgb[matched]
    rgb[striped] = _away_from(classes.rgb, int(striped.sum()))
    return Colours(rgb, striped)


def _away_from(taken: RGB, count: int) -> RGB:
    """Give colours of the palette that are not close to any of those taken, as far as there are so many."""
    candidates = palette(256 + count)
    distances = np.abs(candidates[:, None].astype(np.int16) - taken).sum(axis=2).min(axis=1)
    far = candidates[distances > 90]
    return (far if len(far) >= count else candidates)[:count]


def paint_labels(labels: NDArray[np.unsignedinteger], colours: Colours, rest: Literal["noise", "void"]) -> RGB:
    """Colour a label map.

    Parameters
    ----------
    labels : ndarray of uint8 or uint16
        Cluster or class of every pixel, shape (H, W); every number without a colour is noise or void.
    colours : Colours
        Of the labels 0 … n-1.
    rest : str
        Which hatch such pixels get.

    Returns
    -------
    ndarray of uint8
        Shape (H, W, 3); at least three quarters of a striped cluster's pixels keep its own colour.
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
    """Write a colour as CSS does."""
    return "#" + "".join(f"{channel:02x}" for channel in colour)
