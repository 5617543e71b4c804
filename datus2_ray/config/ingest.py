"""Settings of ingest, which checks the images of a source."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator

from datus2_ray.config.base import StageConfig, expert, setting
from datus2_ray.core.images.rendering import LARGEST_MEGAPIXELS, MAX_MEGAPIXELS, Rendering


class IngestConfig(StageConfig):
    """Ingest: source → images."""

    images_per_part: int = expert(
        16, "Images per part, the unit of work, of resume and of a file. In shards a part is a row group.", ge=1
    )
    image_column: str | None = setting(None, "Column of the shards with the encoded image; default `image`.")
    id_column: str | None = setting(None, "Column with the image's id; default `image_id`, else shard and row number.")
    mask_column: str | None = setting(None, "Column with the encoded mask; default `mask`, if there is one.")
    outside_paths: bool = expert(False, "Read images that shards reference by a path outside the source.")
    masks: str | None = setting(
        None,
        "Label maps that are the ground truth: a pattern such as `annotations/*.png`, `*_seg.png` or a folder's name; "
        "`none` leaves all out. Default: what names and content show.",
    )
    ignore_id: tuple[str, ...] = setting(
        (), "Id of the ground truth that is not scored, such as 0, or colour, such as #e0e0c0, beside what is void."
    )
    bands: tuple[int, ...] | None = setting(
        None, "Bands shown as red, green and blue, or one as grey, such as 4,3,2; default the first three."
    )
    stretch: dict[str, tuple[float, float]] | None = expert(
        None,
        "Values mapped to black and white, per data type, such as {uint16: [0, 4095]}; default the range of "
        "the set, without the lowest and highest thousandth of every image.",
    )
    max_megapixels: int = expert(
        MAX_MEGAPIXELS,
        "Larger images are refused; decoding takes up to 18 bytes per pixel.",
        ge=1,
        le=LARGEST_MEGAPIXELS,
    )
    shard_megabytes: int = expert(128, "Size in MB of the shards that `datus2 ingest` writes.", ge=1, le=1024)
    row_group_rows: int = expert(64, "Images per row group of such a shard.", ge=1, le=256)

    @field_validator("bands", mode="before")
    @classmethod
    def _parse_bands(cls, given: Any) -> Any:
        """Accept the text of the flag, and a number alone."""
        if isinstance(given, int):
            return (given,)
        if isinstance(given, str):
            return tuple(int(band) for band in given.split(",") if band.strip().isdigit()) or given
        return given

    @field_validator("bands")
    @classmethod
    def _check_bands(cls, bands: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if bands is not None and (len(bands) not in (1, 3) or min(bands) < 1):
            raise ValueError("give one band or three, from 1 on, such as 4,3,2")
        return bands

    @property
    def largest_map(self) -> int:
        """Megapixels up to which masks are looked at: ingest refuses none that is as large as its image."""
        return max(MAX_MEGAPIXELS, self.max_megapixels)

    @property
    def rendering(self) -> Rendering:
        """How images become 8-bit RGB, as far as it is known before the set is."""
        ranges = tuple((kind, *values) for kind, values in sorted((self.stretch or {}).items()))
        return Rendering(self.bands or (), ranges, self.max_megapixels)

    @field_validator("ignore_id", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        """Check ids and colours; YAML reads an id as a number."""
        texts = [str(item).strip().lower() for item in (value if isinstance(value, list | tuple) else [value])]
        for text in texts:
            if not re.fullmatch(r"\d+|#[0-9a-f]{6}|\d{1,3},\d{1,3},\d{1,3}", text):
                raise ValueError(f"{text} is no id such as 255, and no colour such as #e0e0c0 or 224,224,192")
        return tuple(texts)
