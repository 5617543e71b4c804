"""What the explorer asks of a run's segments: mapped into memory, never a copy of all rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.core.cluster.tree import Tree
from datus2_ray.explore.prepare import ABOUT, BY_IMAGE, IMAGES, SEGMENTS
from datus2_ray.store import storage

Kind = Literal["nearest", "random", "borderline"]

#: A segment whose second nearest cluster is nearly as near as its own: relative difference of the two distances.
UNCERTAIN = 0.1


@dataclass(frozen=True)
class Tables:
    """The prepared tables of a run.

    Parameters
    ----------
    image, segment, fine, second : ndarray of int32, shape (S,)
        Row number of the image, number of the segment in it, nearest and second nearest fine cluster.
    distance, margin, pixels : ndarray of float32, shape (S,)
    by_image : ndarray of int32, shape (S,)
        Rows of the segments, image after image; those of image i begin at ``image_first[i]``.
    tree : Tree
        Leads through the clusters of the run.
    order, spans, first : ndarray
        Fine clusters in the order of the tree, the places of every node in it, and the first row of every place.
    """

    image: np.ndarray
    segment: np.ndarray
    fine: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    margin: np.ndarray
    pixels: np.ndarray
    by_image: np.ndarray
    image_ids: pa.Array
    image_part: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    image_first: np.ndarray
    parts: list[str]
    tree: Tree
    order: np.ndarray
    spans: np.ndarray
    first: np.ndarray
    leaf_pixels: np.ndarray
    node_images: np.ndarray
    all_pixels: int

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.image_ids)

    @property
    def leaves(self) -> int:
        """Number of fine clusters."""
        return len(self.order)

    @property
    def _image_pixels(self) -> Any:
        return self.heights.astype(np.int64) * self.widths

    def rows(self, node: int) -> slice:
        """Return the rows of the segments of a node of the tree."""
        low, high = self.spans[node]
        return slice(int(self.first[low]), int(self.first[high]))

    def rows_of_image(self, image: int) -> np.ndarray:
        """Return the rows of the segments of an image, in the order of their numbers."""
        stop = self.image_first[image + 1] if image + 1 < self.images else len(self.by_image)
        return self.by_image[self.image_first[image] : stop]

    def samples(self, node: int, kind: Kind, count: int) -> np.ndarray:
        """Return rows of segments of a node, from different images where there are enough.

        ``nearest`` takes the segments nearest to the centroid of each fine cluster, largest clusters first;
        ``random`` draws with equal chances, always the same; ``borderline`` are those whose second nearest fine
        cluster is outside the node and nearly as near.
        """
        if kind == "nearest":
            return self._of_different_images(self._nearest(node, 6 * count), count)
        rows = self.rows(node)
        if kind == "random":
            mixed = _mix(self.image[rows], self.segment[rows])
            best = _smallest(mixed, 3 * count)
        else:
            low, high = self.spans[node]
            second = self.second[rows]
            place = self.spans[np.maximum(second, 0), 0]
            outside = (second >= 0) & ((place < low) | (place >= high))
            best = _smallest(np.where(outside, self.margin[rows], np.inf), 3 * count)
            best = best[outside[best]]
        return self._of_different_images(best + rows.start, count)

    def _nearest(self, node: int, count: int) -> np.ndarray:
        """Return the first rows of every fine cluster of a node, taking turns."""
        low, high = (int(end) for end in self.spans[node])
        starts, ends = self.first[low:high], self.first[low + 1 : high + 1]
        largest = np.argsort(-self.leaf_pixels[self.order[low:high]], kind="stable")
        turns = max(1, -(-count // max(1, high - low)))
        rows = (starts[largest][None, :] + np.arange(turns)[:, None]).ravel()
        limits = np.tile(ends[largest], turns)
        chosen: np.ndarray = rows[rows < limits][:count]
        return chosen

    def _of_different_images(self, rows: np.ndarray, count: int) -> np.ndarray:
        _, earliest = np.unique(self.image[rows], return_index=True)
        once = np.zeros(len(rows), dtype=bool)
        once[earliest] = True
        return np.concatenate([rows[once], rows[~once]])[:count]

    def share_of_node(self, node: int) -> np.ndarray:
        """Return the pixels of every image that belong to a node, float64 [images]."""
        rows = self.rows(node)
        return self._per_image(rows)

    def share_of_class(self, of_segments: np.ndarray, number: int) -> np.ndarray:
        """Return the pixels of every image whose segments have a class; `of_segments` is that of every row."""
        return self._per_image(np.flatnonzero(of_segments == number))

    def _per_image(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return the pixels of segments, added per image."""
        pixels: np.ndarray = np.bincount(self.image[rows], weights=self.pixels[rows], minlength=self.images)
        return pixels

    def uncertainty(self, of_fine: np.ndarray) -> np.ndarray:
        """Return the share of every image, in [0, 1], that may as well belong to another class, float64 [images].

        ``of_fine`` is the class of every fine cluster, or any other number that tells what belongs together.
        """
        near = np.flatnonzero((self.margin < UNCERTAIN) & (self.second >= 0))
        other = near[of_fine[self.fine[near]] != of_fine[self.second[near]]]
        shares: np.ndarray = self._per_image(other) / self._image_pixels
        return shares

    def doubt_of_images(self, doubt: np.ndarray) -> np.ndarray:
        """Return the mean doubt over the pixels of every image; `doubt` is that of every segment, in [0, 1]."""
        pixels = np.bincount(self.image, weights=self.pixels * doubt, minlength=self.images)
        shares: np.ndarray = pixels / self._image_pixels
        return shares

    def find_images(self, text: str) -> np.ndarray:
        """Return the images whose id has a text in it, in the order of the ids."""
        found = pc.match_substring(self.image_ids, text, ignore_case=True)
        return np.flatnonzero(found.to_numpy(zero_copy_only=False))

    def number_of(self, image_id: str) -> int:
        """Return the number of an image, -1 if there is none of that id."""
        return int(pc.index(self.image_ids, image_id).as_py())


def _mix(image: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """Hash segments to uint64 numbers (the finaliser of splitmix64)."""
    value = image.astype(np.uint64) << np.uint64(32) | segment.astype(np.uint64)
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return value ^ value >> np.uint64(31)


def _smallest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the `count` smallest values, in order."""
    if len(values) > count:
        places = np.argpartition(values, count)[:count]
        return places[np.argsort(values[places], kind="stable")]
    return np.argsort(values, kind="stable")


def open_tables(folder: str, cache: Path) -> Tables:
    """Map the prepared tables of a run into memory; those of an object store are copied to the folder `cache` first."""
    about: dict[str, Any] = storage.read_json(storage.join(folder, ABOUT))
    opened = {}
    for name in (SEGMENTS, IMAGES, BY_IMAGE):
        uri = storage.join(folder, name)
        if "://" in uri:
            storage.download(uri, cache / name)
            uri = str(cache / name)
        with pa.memory_map(uri) as source:
            opened[name] = pa.ipc.open_file(source).read_all()
    segments = {name: opened[SEGMENTS][name].combine_chunks().to_numpy() for name in opened[SEGMENTS].column_names}
    images = opened[IMAGES].combine_chunks()
    return Tables(
        **segments,
        by_image=opened[BY_IMAGE]["row"].combine_chunks().to_numpy(),
        image_ids=_one_array(images["image_id"]),
        image_part=images["part"].to_numpy(),
        heights=images["height"].to_numpy(),
        widths=images["width"].to_numpy(),
        image_first=images["first"].to_numpy(),
        parts=about["parts"],
        tree=Tree(**{name: np.array(values) for name, values in about["tree"].items()}),
        order=np.array(about["order"]),
        spans=np.array(about["spans"]),
        first=np.array(about["first"]),
        leaf_pixels=np.array(about["leaf_pixels"]),
        node_images=np.array(about["node_images"]),
        all_pixels=about["pixels"],
    )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
