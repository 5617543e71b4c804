"""The images of files, of which some are several images, in parts that become lists of paths when one is read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datus2_ray.sources.layouts.ids import quote_id
from datus2_ray.sources.layouts.samples import Samples
from datus2_ray.sources.paths import Paths, Positions
from datus2_ray.store.run_folder import part_name

#: Names that ``look.find_pieces`` gives: pages of a file, which stay what the file is, and windows, which become PNG.
_PIECE = re.compile(r"(page-\d{4,})|row-\d{2,}-column-\d{2,}")


@dataclass(frozen=True, eq=False)
class Rows:
    """The images of samples: one of each sample, and of some samples several.

    Parameters
    ----------
    total : int
        Number of images.
    several, counts : ndarray of int64
        Samples of several images, ascending, and how many each has.
    firsts : ndarray of int64
        First image of each of these samples.
    """

    total: int
    several: Positions
    counts: Positions
    firsts: Positions

    @staticmethod
    def of(images: Paths, pieces: Mapping[str, Sequence[str]], limit: int | None) -> Rows:
        """Return the images, at most `limit`, of the files of samples; `pieces` names those of files of several."""
        found = [(at, len(pieces[image])) for at, image in enumerate(images) if image in pieces] if pieces else []
        several, counts = np.array(found, np.int64).reshape(-1, 2).T
        more = np.cumsum(counts - 1)
        total = len(images) + int(more[-1] if len(more) else 0)
        return Rows(total if limit is None else min(total, limit), several, counts, several + more - (counts - 1))

    def __len__(self) -> int:
        return self.total

    def read(self, start: int, stop: int) -> tuple[Positions, Positions]:
        """Return sample and number of the piece, -1 where a file is one image, of the images `start` to `stop`."""
        images = np.arange(start, min(stop, self.total))
        if not len(self.several):
            return images, np.full(len(images), -1)
        before = np.searchsorted(self.firsts, images, "right") - 1
        number = images - self.firsts[before]
        after = number - (self.counts[before] - 1)
        inside = (before >= 0) & (after <= 0)
        samples = np.where(after <= 0, self.several[before], self.several[before] + after)
        return np.where(before < 0, images, samples), np.where(inside, number, -1)


@dataclass(frozen=True, eq=False)
class FileParts(Mapping[str, dict[str, Any]]):
    """What reading a part takes, by its name; see :class:`datus2_ray.sources.listing.Listing`.

    Parameters
    ----------
    samples : Samples
        The samples of the source.
    rows : Rows
        The images of the samples.
    pieces : mapping of str to sequence of str
        Names of the pieces of files that are several images.
    starts : ndarray of int64
        First row of every part.
    labelled : bool
        Whether masks are read.
    """

    samples: Samples
    rows: Rows
    pieces: Mapping[str, Sequence[str]]
    starts: Positions
    labelled: bool

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parts."""
        yield from map(part_name, range(len(self)))

    def __getitem__(self, part: str) -> dict[str, Any]:
        """Return lists ``image_id``, ``image``, ``mask``, ``drawn`` and ``piece``; KeyError if there is no part."""
        number = int("".join(filter(str.isdigit, part)) or -1)
        if not 0 <= number < len(self) or part_name(number) != part:
            raise KeyError(part)
        end = self.starts[number + 1] if number + 1 < len(self) else len(self.rows)
        rows, numbers = self.rows.read(int(self.starts[number]), int(end))
        pieces = numbers.tolist()
        images = list(self.samples.images.at(rows))
        named = zip(self.samples.ids.at(rows), images, pieces, strict=True)
        drawn = [self.samples.drawn_at(at) if self.labelled else b"" for at in rows.tolist()]
        masks = self.samples.masks.at(rows)
        return {
            "image_id": [piece_id(image_id, self.pieces.get(image, ()), piece) for image_id, image, piece in named],
            "image": images,
            "mask": [mask if self.labelled and not what else "" for mask, what in zip(masks, drawn, strict=True)],
            "drawn": drawn,
            "piece": pieces,
        }


def piece_id(image_id: str, names: Sequence[str], number: int) -> str:
    """Return the id of a piece of a file; -1 for a file that is one picture."""
    return image_id if number < 0 else f"{image_id}/{names[number]}"


def file_name(image_id: str, file: str) -> str:
    """Return the name of an image's file: its path in the source, or of a piece of a file the id and a suffix.

    Unlike the paths, these names are distinct, so that what is drawn in a page or window finds its image.
    """
    piece = _PIECE.fullmatch(image_id.rpartition("/")[2])
    stem, suffix = posixpath.splitext(file)
    # A file of its own may have such a name, too.
    if piece is None or f"/{quote_id(stem)}".endswith(f"/{image_id}"):
        return file
    return image_id + (suffix if piece[1] else ".png")
