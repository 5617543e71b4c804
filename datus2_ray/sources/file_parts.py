"""The images of files in parts, made into lists of paths when a part is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from datus2_ray.sources.layouts.layout import Samples
from datus2_ray.sources.paths import Positions
from datus2_ray.store.run_folder import part_name


@dataclass(frozen=True, eq=False)
class FileParts(Mapping[str, dict[str, Any]]):
    """What reading a part takes, by its name; see :class:`datus2_ray.sources.listing.Listing`.

    Parameters
    ----------
    samples : Samples
        The samples of the source.
    rows, pages : ndarray of int64
        Sample of every image, and its page, -1 where a file is one picture.
    starts : ndarray of int64
        First row of every part.
    labelled : bool
        Whether masks are read.
    """

    samples: Samples
    rows: Positions
    pages: Positions
    starts: Positions
    labelled: bool

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the parts."""
        yield from map(part_name, range(len(self)))

    def __getitem__(self, part: str) -> dict[str, Any]:
        """Return lists ``image_id``, ``image``, ``mask`` and ``page`` of a part; KeyError if there is none."""
        number = int("".join(filter(str.isdigit, part)) or -1)
        if not 0 <= number < len(self) or part_name(number) != part:
            raise KeyError(part)
        end = self.starts[number + 1] if number + 1 < len(self) else len(self.rows)
        rows, pages = (column[self.starts[number] : end] for column in (self.rows, self.pages))
        ids = zip(self.samples.ids.at(rows), pages.tolist(), strict=True)
        return {
            "image_id": [page_id(image_id, page) for image_id, page in ids],
            "image": list(self.samples.images.at(rows)),
            "mask": list(self.samples.masks.at(rows)) if self.labelled else [""] * len(rows),
            "page": pages.tolist(),
        }


def page_id(image_id: str, page: int) -> str:
    """Return the id of a page of a file; -1 for a file that is one picture."""
    return image_id if page < 0 else f"{image_id}/page-{page + 1:04d}"
