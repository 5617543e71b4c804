"""8-connected components on the patch grid, compiled."""

from __future__ import annotations

import numpy as np

from datus2_ray.core.compiled import compiled

#: Value of a patch that belongs to no valid segment.
NOISE = -1


@compiled
def label_components(communities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split communities into 8-connected components.

    Parameters
    ----------
    communities : ndarray
        Community of every patch, integer, shape (h, w).

    Returns
    -------
    parts : ndarray
        Component of every patch, int64, shape (h, w), numbered from 0 in the raster order of their first patch.
    sizes : ndarray
        Patches of every component, int64.
    """
    height, width = communities.shape
    parts = np.full((height, width), -1, dtype=np.int64)
    sizes = np.zeros(height * width, dtype=np.int64)
    waiting = np.empty(height * width, dtype=np.int64)
    count = 0
    for start in range(height * width):
        if parts[start // width, start % width] >= 0:
            continue
        community = communities[start // width, start % width]
        parts[start // width, start % width] = count
        waiting[0], end = start, 1
        while end > 0:
            end -= 1
            y, x = waiting[end] // width, waiting[end] % width
            sizes[count] += 1
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if parts[v, u] < 0 and communities[v, u] == community:
                        parts[v, u] = count
                        waiting[end] = v * width + u
                        end += 1
        count += 1
    return parts, sizes[:count].copy()


@compiled
def measure(parts: np.ndarray, sizes: np.ndarray, tau: int) -> tuple[np.ndarray, np.ndarray]:
    """Renumber the components that are large enough, and find their boxes.

    Parameters
    ----------
    parts, sizes : ndarray
        Of :func:`label_components`.
    tau : int
        A component is valid if it has more patches than this.

    Returns
    -------
    patch_map : ndarray
        Valid component of every patch, int16, shape (h, w), numbered from 0 in their order; :data:`NOISE` elsewhere.
    boxes : ndarray
        Top, left, bottom, right, the last two exclusive, int16, shape (S, 4).
    """
    height, width = parts.shape
    numbers = np.full(len(sizes), NOISE, dtype=np.int16)
    valid = 0
    for part in range(len(sizes)):
        if sizes[part] > tau:
            numbers[part] = valid
            valid += 1
    patch_map = np.empty((height, width), dtype=np.int16)
    boxes = np.zeros((valid, 4), dtype=np.int16)
    boxes[:, 0], boxes[:, 1] = height, width
    for y in range(height):
        for x in range(width):
            number = numbers[parts[y, x]]
            patch_map[y, x] = number
            if number >= 0:
                boxes[number, 0], boxes[number, 1] = min(boxes[number, 0], y), min(boxes[number, 1], x)
                boxes[number, 2], boxes[number, 3] = max(boxes[number, 2], y + 1), max(boxes[number, 3], x + 1)
    return patch_map, boxes
