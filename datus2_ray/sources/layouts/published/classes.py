"""The tables of classes that lie beside the layouts as CSV files: ids, names and colours as they are published."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

#: A line of a table by its columns.
Row = Mapping[str, str]


def read_classes(name: str) -> list[Row]:
    """Return the lines of the table ``name.csv``."""
    return list(csv.DictReader(files(__package__).joinpath(f"{name}.csv").read_text("utf-8").splitlines()))


def colour(row: Row) -> tuple[int, int, int]:
    """Return the colour of a line."""
    return int(row["red"]), int(row["green"]), int(row["blue"])


def to_palette(codes: Iterable[int]) -> NDArray[np.uint8]:
    """Return colours 0xRRGGBB as uint8 [C, 3]."""
    return np.array([(code >> 16, code >> 8 & 255, code & 255) for code in codes], np.uint8)
