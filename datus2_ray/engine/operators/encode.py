"""Encode the labels of pixels, as models leave them, as PNG files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from datus2_ray.core.images.labels import Labels, encode_labels
from datus2_ray.store import schemas

#: Columns by which a row that could not be used carries its fault to the end of the stage.
FAULT_COLUMNS = ("fault_kind", "fault_message")


def encode_masks(block: pa.Table) -> pa.Table:
    """CPU task: replace ``labels`` (raw bytes), ``height`` and ``width`` by ``mask``."""
    rows = block.select(["labels", "height", "width"]).to_pylist()
    masks = [None if row["labels"] is None else encode_labels(_label_map(**row)) for row in rows]
    block = block.drop_columns(["labels", "height", "width"])
    return block.append_column("mask", pa.array(masks, schemas.MASKS.field("mask").type))


def _label_map(labels: bytes, height: int, width: int) -> Labels:
    if len(labels) == height * width:
        return np.frombuffer(labels, np.uint8).reshape(height, width)
    return np.frombuffer(labels, np.uint16).reshape(height, width)
