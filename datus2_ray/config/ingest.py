"""Settings of ingest, which checks the images of a source."""

from __future__ import annotations

import re
from typing import Any

from pydantic import field_validator

from datus2_ray.config.base import StageConfig, expert, setting


class IngestConfig(StageConfig):
    """Ingest: source → images."""

    images_per_part: int = expert(
        16, "Images per part, the unit of work, of resume and of a file. In shards a part is a row group.", ge=1
    )
    image_column: str | None = setting(None, "Column of the shards with the encoded image; default `image`.")
    id_column: str | None = setting(None, "Column with the image's id; default `image_id`, else shard and row number.")
    mask_column: str | None = setting(None, "Column with the encoded mask; default `mask`, if there is one.")
    masks: str | None = setting(
        None,
        "Label maps that are the ground truth: a pattern such as `annotations/*.png`, `*_seg.png` or a folder's name; "
        "`none` leaves all out. Default: what names and content show.",
    )
    ignore_id: tuple[str, ...] = setting(
        (), "Id of the ground truth that is not scored, such as 0, or colour, such as #e0e0c0, beside what is void."
    )
    shard_megabytes: int = expert(128, "Size in MB of the shards that `datus2 ingest` writes.", ge=1, le=1024)
    row_group_rows: int = expert(64, "Images per row group of such a shard.", ge=1, le=256)

    @field_validator("ignore_id", mode="before")
    @classmethod
    def _as_texts(cls, value: Any) -> Any:
        """Check ids and colours; YAML reads an id as a number."""
        texts = [str(item).strip().lower() for item in (value if isinstance(value, list | tuple) else [value])]
        for text in texts:
            if not re.fullmatch(r"\d+|#[0-9a-f]{6}|\d{1,3},\d{1,3},\d{1,3}", text):
                raise ValueError(f"{text} is no id such as 255, and no colour such as #e0e0c0 or 224,224,192")
        return tuple(texts)
