"""Weights in several files, as transformers, timm and the model hub write large ones, with an index of the tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path

from datus2_ray.errors import BackboneError

#: The end of an index's name; the names of the files are in it.
INDEX = ".index.json"

_PIECE = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.\w+)")


def pieces_of(file: Path) -> list[Path]:
    """Return the files that an index names, beside it; of any other file itself.

    Raises
    ------
    BackboneError
        If the index cannot be read, names a file of another folder, or one that is not there.
    """
    if not file.name.endswith(INDEX):
        return [file]
    pieces = [file.with_name(name) for name in piece_names(file)]
    missing = next((piece for piece in pieces if not piece.is_file()), None)
    if missing is not None:
        raise BackboneError(f"{file.name} names {missing.name}, which is not beside it; download all of its files")
    return pieces


def piece_names(index: Path) -> list[str]:
    """Return the names of the files in an index, sorted; raises as :func:`pieces_of` if it cannot be read."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(f"{index.name} is no index of weights, or is damaged; download it again") from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise BackboneError(f"{index.name} names no files, or those of another folder; give the weights file itself")
    return names


def whole_of(file: Path) -> Path:
    """Return the index beside one of several files of weights, if there is one; of any other file itself."""
    piece = _PIECE.fullmatch(file.name)
    index = None if piece is None else file.with_name(f"{piece['stem']}{piece['suffix']}{INDEX}")
    return index if index is not None and index.is_file() else file
