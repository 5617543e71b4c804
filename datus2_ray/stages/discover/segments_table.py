"""The last operator of discover: a finished block gets the columns and types of ``segments/``."""

from __future__ import annotations

import pyarrow as pa

from datus2_ray.store import schemas


def conform(block: pa.Table) -> pa.Table:
    """Give a finished block the columns and types of ``segments/``, and keep part and faults beside them."""
    tokens = block.schema.field("tokens").type.value_type.list_size
    schema = schemas.segments(block.schema.field("descriptors").type.value_type.list_size, tokens)
    extra = [name for name in ("part", "fault_kind", "fault_message") if name in block.column_names]
    kept = block.select(schema.names).cast(schema)
    for name in extra:
        kept = kept.append_column(name, block[name])
    return kept
