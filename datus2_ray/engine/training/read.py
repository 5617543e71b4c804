"""Read a table in the workers of a training: part by part, in a given order, by tasks of Ray Data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import ray.data

from datus2_ray.engine.machines import Machines


def read_parts(parts: Sequence[str], read: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Read parts ahead of their use, in tasks, and yield what `read` returns for each, in their order."""
    dataset = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
    dataset.context.execution_options.preserve_order = True
    # Ray Data's guard would take a slow training for a stalled reading; the driver watches the steps instead.
    dataset.context.execution_no_progress_timeout_s = -1
    # The workers take half of the CPUs at most; of a lone one the other half is left for reading.
    cpus = min(1.0, Machines.now().cpus / 2)
    tables = dataset.map_batches(read, batch_size=None, batch_format="pyarrow", num_cpus=cpus)
    yield from tables.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)
