"""Ids of images, made of paths: they can name files in a folder, and none leads out of it."""

from __future__ import annotations

import hashlib
import itertools
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from datus2_ray.errors import ImageError
from datus2_ray.sources import blocks
from datus2_ray.sources.blocks import Blocks
from datus2_ray.sources.layouts.hashes import Hashes, among, hashes, repeated
from datus2_ray.sources.layouts.roles import fold
from datus2_ray.sources.paths import Paths

# Those from U+EF80 stand for bytes of a file's name that are not UTF-8.
_UNSAFE_CHARACTER = re.compile(r"[%\\\x00-\x1f\x7f\uef80-\uefff\ud800-\udfff]")
# Such a character, or a part that is empty or consists of one or two dots.
_UNSAFE = re.compile(rf"{_UNSAFE_CHARACTER.pattern}|(?:^|/)\.{{0,2}}(?:/|$)")

_HASHES = pa.schema([("hash", pa.int64())])

#: Bytes of a file's name on the usual file systems.
MAX_NAME_BYTES = 255

#: Bytes of the name of a mask's file without its suffix.
_MAX_STEM_BYTES = MAX_NAME_BYTES - len(".png")


def assign_ids(names: Sequence[str]) -> Paths:
    """Return distinct ids of distinct paths: the path without suffix, or with it where two would be the same.

    Parts that could lead out of a folder, backslashes, control characters and ``%`` itself are percent-encoded, names
    that are too long for a mask's file are cut, and of those that differ only in case or Unicode form all but one get a
    hash.
    """
    ids = Paths.of(quote_id(posixpath.splitext(name)[0]) for name in names)
    # `a.jpg.png` beside `a.jpg` and `a.png` takes a second round.
    while twice := _repeated(ids):
        ids = Paths.of(
            quote_id(name) if image_id in twice else image_id for image_id, name in zip(ids, names, strict=True)
        )
    # On the disks of Windows and macOS such names are one: the mask of the one would replace that of the other.
    if twice := _repeated(ids, fold):
        ids = Paths.of(
            _mark(image_id) if (folded := fold(image_id)) in twice and image_id != folded else image_id
            for image_id in ids
        )
    return ids


def _repeated(texts: Paths, form: Callable[[str], str] = str) -> set[str]:
    """Return the forms of texts that occur more than once."""
    hashed = Blocks.of(_hashed(texts, form), _HASHES)

    def read() -> Iterator[Hashes]:
        return (batch.column(0).to_numpy() for batch in hashed.read())

    twice = repeated(read, len(hashed))
    if not len(twice):
        return set()
    again = itertools.chain.from_iterable(among(twice, some).tolist() for some in read())
    count = Counter(form(text) for text, may in zip(texts, again, strict=True) if may)
    return {text for text, times in count.items() if times > 1}


def _hashed(texts: Paths, form: Callable[[str], str]) -> Iterator[Any]:
    source = map(form, texts)
    while len(some := hashes(itertools.islice(source, blocks.CHUNK))):
        yield pa.record_batch([pa.array(some)], schema=_HASHES)


def check_id(image_id: str | None) -> None:
    """Raise an ImageError if an id is null, could lead out of a folder, or is too long to name a mask's file."""
    if not image_id or _UNSAFE.search(image_id.replace("%", "")):
        raise ImageError("unsafe_id", f"the id {image_id!r} cannot name a file in an output folder")
    longest = max(len(part.encode()) for part in f"{image_id}.png".split("/"))
    if longest > MAX_NAME_BYTES:
        raise ImageError(
            "long_id",
            f"the name of its mask, or of a folder in its id, has {longest} bytes, more than the {MAX_NAME_BYTES} that "
            "file systems allow; pack the images by `datus2 ingest` again",
        )


def quote_id(path: str) -> str:
    """Return a path as an id: what could lead out of a folder is percent-encoded, names that are too long are cut.

    Usual names do not change. A name is cut where that of its mask's file would be longer than file systems allow; it
    ends with a hash of the whole then, so that names of one beginning stay apart.
    """
    if _UNSAFE.search(path):
        parts = [_UNSAFE_CHARACTER.sub(_percent, part) for part in path.split("/")]
        path = "/".join(part.replace(".", "%2E") if part in (".", "..") else part or "%" for part in parts)
    if len(path) * 4 <= _MAX_STEM_BYTES:  # no character has more bytes
        return path
    return "/".join(_cut(part) for part in path.split("/"))


def _percent(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"%{code & 0xFF if 0xEF80 <= code <= 0xEFFF else code:02X}"


def _cut(part: str) -> str:
    return part if len(part.encode()) <= _MAX_STEM_BYTES else _mark(part)


def _mark(path: str) -> str:
    """Return a path whose name ends with a hash of the whole, cut so far that it can name a mask's file."""
    folder, separator, name = path.rpartition("/")
    mark = f"~{hashlib.sha256(path.encode()).hexdigest()[:16]}"
    return folder + separator + name.encode()[: _MAX_STEM_BYTES - len(mark)].decode(errors="ignore") + mark
