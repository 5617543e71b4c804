"""Settings of ingest, which checks the images of a source."""

from __future__ import annotations

from datus2_ray.config.base import StageConfig, expert, setting


class IngestConfig(StageConfig):
    """Ingest: source → images."""

    images_per_part: int = expert(
        16, "Images per part, the unit of work, of resume and of a file. In shards a part is a row group.", ge=1
    )
    image_column: str | None = setting(None, "Column of the shards with the encoded image; default `image`.")
    id_column: str | None = setting(None, "Column with the image's id; default `image_id`, else shard and row number.")
    mask_column: str | None = setting(None, "Column with the encoded mask; default `mask`, if there is one.")
    outside_paths: bool = expert(
        False, "Read images that shards have no bytes of, but a path that leads out of the source."
    )
    shard_megabytes: int = expert(128, "Size in MB of the shards that `datus2 ingest` writes.", ge=1, le=1024)
    row_group_rows: int = expert(64, "Images per row group of such a shard.", ge=1, le=256)
