"""Listing Parquet shards: each row group is a part, or several."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict

from datus2_ray.config import RunConfig
from datus2_ray.errors import UsageError
from datus2_ray.sources.ground_truth import check_masks, masks_in, noted_palette
from datus2_ray.sources.layouts import known
from datus2_ray.sources.layouts.layout import NO_MASKS, Palette
from datus2_ray.sources.listing import Listing
from datus2_ray.sources.look import BESIDE_SHARDS, DAMAGED, NO_IMAGES, describe_passed_over
from datus2_ray.sources.paths import Show, quiet
from datus2_ray.sources.place import Place
from datus2_ray.sources.shard_paths import PathReader
from datus2_ray.sources.shards import cut_shards, is_picture
from datus2_ray.sources.splits import choose_split
from datus2_ray.store.run_folder import part_name
from datus2_ray.store.walk import FileEntry


def list_shards(
    config: RunConfig, place: Place, shards: list[FileEntry], labelled: bool, opened: Show = quiet
) -> Listing:
    """List shards; a part is a slice of one. `opened` is called with the number of shards since the call before.

    Raises
    ------
    UsageError
        If label maps are named as those of files, or the shards have no rows, another data set or no such split.
    StorageError
        If a shard cannot be read.
    """
    if config.ingest.masks not in (None, NO_MASKS):
        raise UsageError(f"{config.source} has shards: --mask-column NAME names their ground truth, not --masks")
    paths = [entry.path for entry in shards]
    if config.split is not None:
        paths = choose_split(place.root, paths, config.split)
    labelled = labelled and config.ingest.masks != NO_MASKS
    damaged: dict[str, str] = {}
    slices = cut_shards(place.root, paths, config.ingest, config.limit, labelled, damaged, opened)
    if not slices:
        raise UsageError(f"{config.source}: its {len(paths)} shards have no rows")
    columns = next((cut.columns for cut in slices if cut.columns.mask), slices[0].columns)
    dataset = config.dataset
    if columns.dataset not in (None, dataset):
        if dataset != known.FOLDER.name:
            raise UsageError(f"{config.source} was made with --dataset {columns.dataset}, not {dataset}; leave it out")
        dataset = known.find(str(columns.dataset)).name
    slices_per_shard = Counter(rows.shard for rows in slices)
    passed_over = dict.fromkeys(filter(is_picture, place.files.paths), BESIDE_SHARDS)
    if config.limit is None:
        passed_over |= {path: NO_IMAGES for path in paths if path not in slices_per_shard}
    passed_over |= {path: f"{DAMAGED}: {reason}" for path, reason in damaged.items()}
    palette: Palette = ()
    ground_truth: tuple[str, ...] = ()
    if columns.mask is not None and known.find(dataset).class_names is None:
        paths_of = PathReader(place.root, config.ingest.outside_paths)
        masks = masks_in(place.root, [cut for cut in slices if cut.columns.mask], paths_of)
        if columns.dataset is not None:
            palette = noted_palette(place.root, next(cut.shard for cut in slices if cut.columns.mask))
        if masks:
            checked = check_masks(masks, palette, config.ingest.ignore_id, config.ingest.largest_map)
            ground_truth = (f"ground truth in {columns.mask}; {checked}",)
    entries = {entry.path: entry for entry in shards}
    stamps = [(path, entries[path].size, entries[path].modified_ns) for path in paths]
    content = repr([(stamps, config.ingest.outside_paths, slices)])
    return Listing(
        parts={part_name(i): asdict(rows) for i, rows in enumerate(slices)},
        counts={part_name(i): rows.stop - rows.start for i, rows in enumerate(slices)},
        sizes={part_name(i): entries[rows.shard].size // slices_per_shard[rows.shard] for i, rows in enumerate(slices)},
        content=hashlib.sha256(content.encode()).hexdigest(),
        dataset=dataset,
        labelled=columns.mask is not None,
        columns=columns,
        root=place.root,
        passed_over=passed_over,
        notes=(*place.notes, *describe_passed_over(passed_over)),
        palette=palette,
        ground_truth=ground_truth,
    )
