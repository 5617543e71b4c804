"""Discover: images to segments and their descriptors, in one streaming execution.

Decode in CPU tasks, embed in an actor pool, Louvain and components in CPU tasks, describe crops in a second actor pool
where the descriptor needs them, write. The graph leaves the device as packed bits or lists of neighbours; features do
not, unless the descriptor, the layer on tokens or a baseline needs the patch tokens.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from datus2_ray.engine.heartbeat import Heartbeat
from datus2_ray.engine.machines import ACTOR_MEMORY, Device
from datus2_ray.engine.operators.decides import (
    EMBED_IMAGES,
    image_reader,
    large_windows,
    segmentation_decides,
    window_lines,
)
from datus2_ray.engine.progress import say
from datus2_ray.engine.prospect import Prospect
from datus2_ray.engine.run import Run
from datus2_ray.engine.stage import Model, Operator, PerPart, Placement, Stage, Use
from datus2_ray.engine.uses import model_actors, part_tasks
from datus2_ray.store import parquet, schemas
from datus2_ray.store.facts import Discovered, Ingested

#: Bytes for every pair of patches while a graph is made (measured: 11).
GRAPH_BYTES = 12

#: Parts read at a time when they are summed up.
READ_THREADS = 16

#: Describes the segments by their crops, in a pool of its own.
DESCRIBE_CROPS = Model("datus2_ray.stages.discover.describe", "DescribeCrops")

#: Smallest and largest side of patches in use, in pixels; the packaged backbone has the smallest.
SMALL_PATCH, LARGE_PATCH = 8, 16


def _keeps_tokens(run: Run) -> bool:
    """Return whether the table keeps every image's patch tokens: for head or layer on them, or for the baselines.

    Also where masks are not refined now: a later command that refines them finds the tokens.
    """
    learned = run.config.cluster.uses_head or run.config.refine.em
    return learned or run.prospect.uncompared is None


def _decides(run: Run, device: Device) -> dict[str, Any]:
    return {**segmentation_decides(run, device), "tokens": _keeps_tokens(run)}


def _operators(run: Run, placement: Placement, heartbeat: Heartbeat) -> list[Operator]:
    from datus2_ray.engine.operators.segment import FindSegments

    say("discover", *window_lines(run))
    config, device, kept = run.config.discover, placement.device, _keeps_tokens(run)
    graphs, tokens = config.unit == "segments", kept or config.describes_by_tokens
    windows = large_windows(run)
    embed = (run.backbone, config, device, heartbeat, graphs, tokens, windows)
    operators = [
        Operator(image_reader(run, heartbeat)),
        Operator(EMBED_IMAGES, placement.pools["embed"], embed),
        Operator(FindSegments(config, run.config.seed, kept, windows)),
    ]
    if config.pools > 1:
        describe = (run.backbone, config, device, heartbeat)
        operators.append(Operator(DESCRIBE_CROPS, placement.pools["describe"], describe))
    return [*operators, Operator(conform)]


def conform(block: pa.Table) -> pa.Table:
    """Return a finished block with the columns and types of the table, and part and faults beside them."""
    tokens = block.schema.field("tokens").type.value_type.list_size
    schema = schemas.segments(block.schema.field("descriptors").type.value_type.list_size, tokens)
    kept = block.select(schema.names).cast(schema)
    for name in ("part", "fault_kind", "fault_message"):
        if name in block.column_names:
            kept = kept.append_column(name, block[name])
    return kept


def _facts(run: Run, placement: Placement) -> Discovered:
    def count(part: str) -> tuple[int, int]:
        table = parquet.read_table(placement.path(part), ["communities", "found"])
        communities: list[int] = table["communities"].to_pylist()
        return communities.count(1), sum(table["found"].to_pylist())

    with ThreadPoolExecutor(READ_THREADS) as threads:
        counts = list(threads.map(count, sorted(run.commit(Ingested).parts)))
    return Discovered(sum(whole for whole, _ in counts), sum(found for _, found in counts))


def _uses(prospect: Prospect) -> list[Use]:
    config = prospect.config.discover
    # To know the patch of a backbone that is named would take torch, seconds to load: the most is told that any patch
    # takes, pixels of large ones and numbers of small ones.
    side = config.side(LARGE_PATCH if prospect.config.backbone else SMALL_PATCH)
    patches = config.grid or side // SMALL_PATCH
    # Where the aspect is kept, photographs of 4 to 3 are expected; a panorama takes more.
    shape = (4, 3) if config.keep_aspect else (1, 1)
    embed = model_actors(prospect, "embed", config.pools)
    uses = [part_tasks(prospect, 3 * side * side * shape[0] // shape[1]), embed]
    if config.pools > 1:
        uses.append(model_actors(prospect, "describe", config.pools))
    notes = []
    if prospect.device == "cpu" and embed.max_count * config.pools * ACTOR_MEMORY > prospect.machines.memory:
        notes.append("with a large backbone memory may run short; lower discover.actors where it does")
    graph = GRAPH_BYTES * (patches * patches * shape[0] // shape[1]) ** 2
    if config.unit == "segments" and graph > ACTOR_MEMORY // 2:
        notes.append(
            f"an image's graph takes up to {graph / 1e9:.1f} GB more in every actor ({patches} × {patches} patches); "
            f"lower discover.actors, or discover.{'grid' if config.grid else 'input_size'}, where memory runs short"
        )
    return [*uses[:-1], uses[-1].with_notes(notes)]


DISCOVER = Stage(
    facts=Discovered,
    title="Find and describe the segments of every image",
    writes={
        "part-*.parquet": "per image: patch map, segments, descriptors, tokens where head, em or a baseline reads them"
    },
    version=6,
    reads=(Ingested,),
    decides=_decides,
    computes=True,
    uses=_uses,
    work=PerPart(
        operators=_operators,
        facts=_facts,
        parts=lambda run: run.commit(Ingested).parts,
    ),
)
