"""The splits of shards, by the names that Hugging Face's `datasets` and its hub give to Parquet files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from datus2_ray.errors import UsageError

#: ``train-00000-of-00004``, also after the name of a data set, ``cifar10-train-00000-of-00001``, and before a hash.
NUMBERED = re.compile(r"(?:.*-)?(?P<split>[\w.]+)-\d{3,}-of-\d{3,}(?:-[0-9a-f]+)?")

#: Words in the name of a file or folder, and the split that they mean.
WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


def split_of(shard: str) -> str | None:
    """Return the split that a shard's path names, ``train``, ``validation``, ``test`` or any other; None if none."""
    stem, *folders = reversed(posixpath.splitext(shard)[0].split("/"))
    if numbered := NUMBERED.fullmatch(stem):
        return _canonical(numbered["split"])
    for part in (stem, *folders):
        words = re.split(r"[^a-z]+", part.lower())
        if found := next((WORDS[word] for word in words if word in WORDS), None):
            return found
    return None


def choose_split(source: str, shards: Sequence[str], split: str) -> list[str]:
    """Return the shards of a split.

    Raises
    ------
    UsageError
        If no shard is of that split; the message names those that there are.
    """
    splits = {shard: split_of(shard) for shard in shards}
    named = sorted({name for name in splits.values() if name is not None})
    if not named:
        raise UsageError(f"{source} has shards, whose names tell no splits; leave --split out, or give a subfolder")
    chosen = [shard for shard, name in splits.items() if name == _canonical(split)]
    if not chosen:
        raise UsageError(f"{source} has the splits {', '.join(named)}, not {split}")
    return chosen


def _canonical(split: str) -> str:
    return WORDS.get(split.lower(), split)
