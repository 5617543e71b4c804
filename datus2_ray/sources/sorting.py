"""External merge sort: rows are sorted some at a time, written to a temporary file, and merged."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.sources.blocks import Blocks, rebatch

#: Rows that are sorted at a time, and those of every such piece that are in memory while all are merged.
ROWS_SORTED, ROWS_MERGED = 1 << 16, 1 << 11


def sort_rows(batches: Iterable[Any], schema: Any) -> Blocks:
    """Return the rows of record batches in the order of their first column, texts that are not null and distinct."""
    runs = (_sorted(run) for run in rebatch(batches, ROWS_SORTED))
    first, second = next(runs, None), next(runs, None)
    if first is None or second is None:
        return Blocks.of([] if first is None else [first], schema)
    held = Blocks.of(chain([first, second], runs), schema, ROWS_MERGED)
    del first, second
    return Blocks.of(_merge(held), schema)


def _sorted(batch: Any) -> Any:
    return batch.take(pc.sort_indices(batch.column(0)))


def _merge(held: Blocks) -> Iterator[Any]:
    """Yield the rows of sorted runs in order."""
    runs = [held.read(start, min(start + ROWS_SORTED, len(held))) for start in range(0, len(held), ROWS_SORTED)]
    heads = [(next(run), run) for run in runs]
    while heads:
        # What is read of a run ends there at the latest, so no run has more rows up to there that are not read.
        bound = min(head.column(0)[-1].as_py() for head, _ in heads)
        ends = [_count_to(head.column(0), bound) for head, _ in heads]
        pieces = [head.slice(0, end) for (head, _), end in zip(heads, ends, strict=True) if end]
        yield pieces[0] if len(pieces) == 1 else _sorted(pa.concat_batches(pieces))
        left = ((head.slice(end) if end < len(head) else next(run, None), run)
                for (head, run), end in zip(heads, ends, strict=True))  # fmt: skip
        heads = [(head, run) for head, run in left if head is not None]


def _count_to(texts: Any, bound: str) -> int:
    """Return how many of some sorted texts are not after `bound`."""
    return bisect_right(range(len(texts)), bound, key=lambda at: texts[at].as_py())
