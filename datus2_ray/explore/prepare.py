"""Tables that the explorer reads, made once per result of `label`: a few numbers per segment, in a useful order.

Segments stand in the order of the tree, then of their distance, so that those of any node of the tree are one slice,
and the most typical of a fine cluster come first in its slice.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from datus2_ray.core.cluster.tree import Tree
from datus2_ray.engine.clustering.table import read_tree
from datus2_ray.errors import StorageError
from datus2_ray.store import parquet, storage
from datus2_ray.store.columns import list_arrays
from datus2_ray.store.commit import Commit
from datus2_ray.store.facts import Clustered, Discovered, Labelled
from datus2_ray.store.run_folder import DIGITS, RunFolder

#: Folder in the run folder; below it, one folder per result of `label`.
EXPLORE = "explore"

#: Raised when the tables below change, so that those of an older version are made anew.
FORMAT = 2

#: Written last.
ABOUT = "about.json"

SEGMENTS, IMAGES, BY_IMAGE = "segments.arrow", "images.arrow", "by_image.arrow"

#: Parts read at a time.
READ_THREADS = 8

_LABEL = ["image_id", "segment_fine", "segment_distances", "segment_second", "segment_second_distances"]
_DISCOVER = ["image_id", "height", "width", "grid_height", "grid_width", "sizes"]


@dataclass(frozen=True)
class _Part:
    """Numbers of one part: per image, and per segment in the order of the images."""

    ids: list[str]
    heights: np.ndarray
    widths: np.ndarray
    counts: np.ndarray
    fine: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    second_distance: np.ndarray
    pixels: np.ndarray


def prepared_folder(run: RunFolder) -> str:
    """Return the URI of the tables of a run's current result of `label`."""
    return run.path(EXPLORE, run.require(Labelled).fingerprint[:DIGITS])


def prepare(run: RunFolder) -> str:
    """Make the tables of a run if they are not there, and return the URI of their folder.

    Memory grows with the segments, by about 100 bytes each; pictures and descriptors are not read.

    Raises
    ------
    StorageError
        If the run is not finished, or an older version of the program wrote its masks.
    """
    run.require_finished()
    folder = prepared_folder(run)
    about = storage.join(folder, ABOUT)
    if (kept := storage.if_there(storage.read_json, about)) and kept["format"] == FORMAT:
        return folder
    labelled, discovered = run.require(Labelled), run.require(Discovered)
    tree = read_tree(run.require(Clustered), int(storage.read_json(run.path("summary.json"))["clusters"]))
    names = sorted(labelled.parts)
    with ThreadPoolExecutor(READ_THREADS) as threads:
        parts = list(threads.map(lambda name: _read_part(labelled, discovered, name), names))
    tables, facts = arrange(parts, tree)
    for name, table in tables.items():
        storage.write_bytes(storage.join(folder, name), _arrow_file(table))
    storage.write_json(about, {"format": FORMAT, "parts": names, **facts})
    return folder


def _read_part(labelled: Commit[Labelled], discovered: Commit[Discovered], name: str) -> _Part:
    if "segment_second_distances" not in parquet.read_schema(labelled.path(name)).names:
        raise StorageError(
            f"{labelled.uri} was written by an older version of the program, without second nearest clusters; run the "
            "same `datus2 run` again"
        )
    label = parquet.read_table(labelled.path(name), _LABEL)
    found = parquet.read_table(discovered.path(name), _DISCOVER)
    # Images that `label` could not use are in the one table only.
    rows = {image_id: row for row, image_id in enumerate(found["image_id"].to_pylist())}
    ids = label["image_id"].to_pylist()
    found = found.take([rows[image_id] for image_id in ids])
    numbers = {name: found[name].to_numpy().astype(np.int64) for name in _DISCOVER[1:-1]}
    sizes = [np.asarray(values) for values in list_arrays(found["sizes"])]
    counts = np.array([len(values) for values in sizes], dtype=np.int64)
    per_patch = numbers["height"] * numbers["width"] / (numbers["grid_height"] * numbers["grid_width"])
    return _Part(
        ids, numbers["height"], numbers["width"], counts,
        fine=_flat(label["segment_fine"], np.int32), second=_flat(label["segment_second"], np.int32),
        distance=_flat(label["segment_distances"], np.float32),
        second_distance=_flat(label["segment_second_distances"], np.float32),
        pixels=(_concatenate(sizes, np.float64) * np.repeat(per_patch, counts)).astype(np.float32),
    )  # fmt: skip


def _flat(column: pa.ChunkedArray, dtype: Any) -> np.ndarray:
    return _concatenate(list_arrays(column), dtype)


def _concatenate(arrays: list[Any], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.empty(0, dtype)


def arrange(parts: list[_Part], tree: Tree) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return the tables, and counts per fine cluster and per node of the tree."""
    leaves = tree.leaves
    order, spans = tree.spans()
    images = sum(len(part.ids) for part in parts)
    counts, fine, second, distance, second_distance, pixels, heights, widths = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("counts", "fine", "second", "distance", "second_distance", "pixels", "heights", "widths")
    )
    image = np.repeat(np.arange(images, dtype=np.int32), counts)
    first = np.concatenate([[0], np.cumsum(counts)])
    number = (np.arange(len(image)) - first[image]).astype(np.int32)
    sorting = np.lexsort((number, image, distance, spans[fine, 0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0: two clusters are equally near. 1: at the centroid, or there is no second one.
        margin = np.where((second < 0) | (second_distance <= 0), 1.0, 1 - distance / second_distance)
    segments = pa.table(
        {
            "image": image[sorting],
            "segment": number[sorting],
            "fine": fine[sorting],
            "second": second[sorting],
            "distance": distance[sorting],
            "margin": np.clip(margin, 0, 1).astype(np.float32)[sorting],
            "pixels": pixels[sorting],
        }
    )
    place = np.empty(len(sorting), dtype=np.int32)
    place[sorting] = np.arange(len(sorting), dtype=np.int32)
    part_numbers = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.ids) for part in parts])
    tables = {
        SEGMENTS: segments,
        # Rows in the table of segments, image after image.
        BY_IMAGE: pa.table({"row": place}),
        IMAGES: pa.table(
            {
                "image_id": pa.array([image_id for part in parts for image_id in part.ids], pa.string()),
                "part": part_numbers,
                "height": heights.astype(np.int32),
                "width": widths.astype(np.int32),
                "first": first[:-1],
            }
        ),
    }
    per_leaf = np.bincount(fine, minlength=leaves)
    facts = {
        # Order and spans are of this very tree; another version of the program might count votes otherwise.
        "tree": {name: values.tolist() for name, values in vars(tree).items()},
        "pixels": int((heights * widths).sum()),
        "order": order.tolist(),
        "spans": spans.tolist(),
        "first": np.concatenate([[0], np.cumsum(per_leaf[order])]).tolist(),
        "leaf_pixels": np.bincount(fine, weights=pixels, minlength=leaves).round().astype(np.int64).tolist(),
        "node_images": _count_images(tree, fine, image, images).tolist(),
    }
    return tables, facts


def _count_images(tree: Tree, fine: np.ndarray, image: np.ndarray, images: int) -> np.ndarray:
    """Return the number of images that have a segment of each node, int64 [2 M - 1]."""
    leaves, counts = tree.leaves, np.zeros(2 * tree.leaves - 1, dtype=np.int64)
    marked: dict[int, np.ndarray] = {}
    by_leaf = np.argsort(fine, kind="stable")
    ends = np.cumsum(np.bincount(fine, minlength=leaves))
    for node in range(2 * leaves - 1):
        if node < leaves:
            bits = np.zeros(images, dtype=bool)
            bits[image[by_leaf[ends[node - 1] if node else 0 : ends[node]]]] = True
            marked[node] = np.packbits(bits)
        else:
            left, right = int(tree.left[node - leaves]), int(tree.right[node - leaves])
            marked[node] = marked.pop(left) | marked.pop(right)
        counts[node] = int(np.bitwise_count(marked[node]).sum())
    return counts


def _arrow_file(table: pa.Table) -> memoryview:
    """Return a table as an Arrow file of one batch, which can be mapped into memory without a copy."""
    sink = pa.BufferOutputStream()
    combined = table.combine_chunks()
    with pa.ipc.new_file(sink, combined.schema) as writer:
        writer.write_table(combined)
    return memoryview(sink.getvalue())
