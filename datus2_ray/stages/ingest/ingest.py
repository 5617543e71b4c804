"""Ingest: a folder, data set or shards to checked images, in parts; what cannot be used goes to quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datus2_ray.config import RunConfig
from datus2_ray.core.images.rendering import PIXEL_BYTES
from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import Device
from datus2_ray.engine.progress import say
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import part_tasks
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.stages.ingest.drawing import drawing
from datus2_ray.stages.ingest.notes import note_lines, sum_notes
from datus2_ray.store import parquet
from datus2_ray.store.facts import Ingested

#: Parts read at a time: from an object store each is a round trip.
READ_THREADS = 16


def _decides(run: Run, device: Device) -> dict[str, Any]:
    listing = run.listing
    # Of shards the listing's hash says which columns are read, and their row groups are the parts.
    by_files = {"images_per_part": run.config.ingest.images_per_part} if listing.columns is None else {}
    rendered = {name: getattr(run.config.ingest, name) for name in ("bands", "stretch", "max_megapixels")}
    # Whole images, as most runs see them, have the fingerprint that they had before there was a protocol.
    rendered |= {} if run.config.rendering.crop is None else {"protocol": run.config.protocol}
    named = {"dataset": listing.dataset, "source": run.config.source, "content": listing.content}
    return {**named, **by_files, **rendered, **drawing(listing)}


def reader(
    config: RunConfig, listing: Listing, heartbeat: Heartbeat, folder: str
) -> Callable[[pa.Table], pa.Table | Iterator[pa.Table]]:
    """Return the task that reads a part of a source, or the parts of a row group, with a result in `folder`."""
    # Imported here: plan and status need the declaration, not the decoders.
    from datus2_ray.stages.ingest.from_files import ReadFiles
    from datus2_ray.stages.ingest.from_shards import ReadShard

    source, dataset, rendering = listing.root, config.dataset, config.rendering
    if listing.columns is None:
        return ReadFiles(source, dataset, heartbeat, rendering, folder)
    paths = PathReader(source, config.ingest.outside_paths)
    return ReadShard(source, dataset, paths, heartbeat, rendering, folder)


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    return [Operator(reader(run.config, run.listing, heartbeat, placement.uri))]


def _bundle(run: Run, items: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return the parts of a row group as one item of one task, so that the group is read once."""
    if run.listing.columns is None:
        return items
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault((item["shard"], item["row_group"]), []).append(item)
    return [{"part": slices[0]["part"], "slices": slices} for slices in groups.values()]


def _facts(run: Run, placement: Placement) -> Ingested:
    kept_in = None if run.listing.columns is None else run.listing.root
    rendering, notes = sum_notes(placement.uri, run.listing.parts, run.config.rendering)
    say("ingest", *note_lines(notes))
    longest = _longest(placement, list(run.listing.counts))
    return Ingested(run.listing.dataset, kept_in, notes=notes, longest=longest, **asdict(rendering))


def _longest(placement: Placement, parts: Sequence[str]) -> int:
    """Return the longest side of all images, in pixels."""

    def of_part(part: str) -> int:
        table = parquet.read_table(placement.path(part), ["height", "width"])
        return max((pc.max(table[name]).as_py() or 0 for name in table.column_names), default=0)

    with ThreadPoolExecutor(READ_THREADS) as threads:
        return max(threads.map(of_part, parts), default=0)


def _uses(prospect: Prospect) -> list[Use]:
    largest = max(prospect.parts.values(), default=1)
    limit = prospect.config.ingest.max_megapixels
    note = (
        f"an image of {limit} megapixels, the largest that is taken (ingest.max_megapixels), takes up to "
        f"{limit * PIXEL_BYTES / 1000:.1f} GB while it is decoded, in each of {prospect.tasks} tasks"
    )
    return [part_tasks(prospect, prospect.part_bytes // largest).with_notes([note])]


INGEST = Stage(
    facts=Ingested,
    title="Read and check every image of the source once",
    writes={"part-*.parquet": "the encoded images (of shards: where they lie), their sizes and ground truth"},
    version=6,
    decides=_decides,
    uses=_uses,
    work=PerPart(
        operators=_operators,
        facts=_facts,
        parts=lambda run: run.listing.counts,
        payload=lambda run, part: run.listing.parts[part],
        bundle=_bundle,
    ),
)
