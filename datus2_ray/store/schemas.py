"""The Arrow schema of every table in a run folder, a sentence per column; no table contains times, hosts or paths.

Every table has the same parts (``part-000000.parquet`` …), cut at ingest in the order of the image ids: part *i* of a
table is about the images of part *i* of ``images/``. Vectors are Arrow fixed-size lists and images are encoded bytes,
so that pyarrow, DuckDB or pandas can read a run without Ray.
"""

from __future__ import annotations

import pyarrow as pa


def _schema(*columns: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"description": text}) for name, kind, text in columns])


IMAGES = _schema(
    ("image_id", pa.string(), "Relative path of the image in its source, without extension; unique in a run."),
    ("file", pa.string(), "Path of its file in the source."),
    ("image", pa.binary(), "The encoded image, byte for byte as in the source."),
    ("height", pa.int32(), "Rows of the image after EXIF rotation, in pixels."),
    ("width", pa.int32(), "Columns of the image after EXIF rotation, in pixels."),
    ("mask", pa.binary(), "Ground truth as PNG: ids, palette indices or colours; null where there is none to use."),
    ("mask_fault", pa.string(), "Kind and message of what is wrong with a mask that cannot be used, else null."),
    ("number_type", pa.string(), "Type of the image's values, such as uint16; null for 8 bits."),
    ("low", pa.float64(), "Low value of the image: a thousandth is below it; null for 8 bits."),
    ("high", pa.float64(), "High value of the image: a thousandth is above it; null for 8 bits."),
)

#: Columns about the values of an image of more than 8 bits.
RANGE = ("number_type", "low", "high")

#: Of ``images/`` if the source has shards, in which most images stay.
SHARD_IMAGES = pa.schema(
    [
        *(field for field in IMAGES if field.name not in ("file", "image")),
        *_schema(
            ("image", pa.binary(), "The encoded image if its row group was cut or has only its path; else null."),
            ("shard", pa.string(), "Shard that has the image: its path below the source."),
            ("row_group", pa.int32(), "Its row group there, the same for all images of a part."),
            ("row", pa.int32(), "Its row in that group."),
            ("image_column", pa.string(), "Column of that shard with the encoded image."),
            ("id_column", pa.string(), "Column of that shard with the image's id; null if it is named by its row."),
        ),
    ]
)

SURVEY = _schema(
    ("id_hash", pa.uint64(), "64-bit hash of the image's id."),
    ("labelled", pa.bool_(), "Whether the image has ground truth."),
    ("values", pa.list_(pa.list_(pa.int64(), 4)), "Of every id or colour in it: id, colour, pixels, pixels inside."),
    ("mask_fault", pa.string(), "Kind of what is wrong with a ground truth that cannot be used, else null."),
)

#: Of the images of a part about which there is something to say.
NOTES = _schema(
    ("image_id", pa.string(), "The image."),
    ("note", pa.string(), "What was done with it; null if it only has a range."),
    *((field.name, field.type, field.metadata[b"description"].decode()) for field in map(IMAGES.field, RANGE)),
)

PASSED_OVER = _schema(
    ("path", pa.string(), "A file of the source that is neither an image nor a mask of the run."),
    ("reason", pa.string(), "Why it was passed over."),
)

QUARANTINE = _schema(
    ("image_id", pa.string(), "The image that could not be used."),
    ("stage", pa.string(), "The step that refused it."),
    ("kind", pa.string(), "A short, stable name of the fault."),
    ("message", pa.string(), "What is wrong, in one line."),
)


def segments(descriptor_dim: int, token_dim: int) -> pa.Schema:
    """Return the schema of ``segments/``, one row per image."""
    boxes = pa.list_(pa.list_(pa.int16(), 4))
    descriptors = pa.list_(pa.list_(pa.float32(), descriptor_dim))
    tokens = pa.list_(pa.list_(pa.float16(), token_dim))
    return _schema(
        ("image_id", pa.string(), "The image."),
        ("height", pa.int32(), "Rows of the image, in pixels."),
        ("width", pa.int32(), "Columns of the image, in pixels."),
        ("grid_height", pa.int32(), "Rows of the patch grid."),
        ("grid_width", pa.int32(), "Columns of the patch grid."),
        ("patch_map", pa.list_(pa.int16()), "Segment of every patch in raster order, -1 = noise."),
        ("sizes", pa.list_(pa.int32()), "Patches of every valid segment."),
        ("boxes", boxes, "Top, left, bottom, right in patches, end exclusive."),
        ("descriptors", descriptors, "Descriptor of every valid segment."),
        ("found", pa.int32(), "Connected parts of communities, of any size: valid segments and what is too small."),
        ("communities", pa.int32(), "Communities that Louvain found; null where patches are the units."),
        ("modularity", pa.float64(), "Modularity of that partition; null where patches are the units."),
        (
            "tokens",
            tokens,
            "Tokens of the patches, a mean where several blocks or views are taken; null where nothing reads them.",
        ),
    )


def codes(length: int) -> pa.Schema:
    """Return the schema of ``codes/``, one row per image: columns of ``discover/``, with other descriptors."""
    kept = ("image_id", "height", "width", "grid_height", "grid_width", "patch_map", "sizes")
    descriptors = pa.list_(pa.list_(pa.float32(), length))
    text = "Mean code of every valid segment, of length 1."
    return pa.schema([*map(segments(1, 1).field, kept), *_schema(("descriptors", descriptors, text))])


def sample(descriptor_dim: int) -> pa.Schema:
    """Return the schema of ``sample/``, one row per image with the segments of both its views."""
    descriptors = pa.list_(pa.list_(pa.float32(), descriptor_dim))
    return _schema(
        ("image_id", pa.string(), "The image."),
        ("grid_height", pa.int32(), "Rows of the patch grid."),
        ("grid_width", pa.int32(), "Columns of the patch grid."),
        ("patch_map", pa.list_(pa.int16()), "Segment of every patch in raster order, -1 = noise."),
        ("descriptors", descriptors, "Descriptor of every segment."),
        ("mirrored_patch_map", pa.list_(pa.int16()), "The same of the mirror image, in its own raster order."),
        ("mirrored_descriptors", descriptors, "Descriptor of every segment of the mirror image."),
    )


CENTROIDS = _schema(
    ("centroid", pa.list_(pa.float64()), "Centroid of a fine cluster, in the space of the (projected) descriptors."),
    ("segments", pa.int64(), "Segments nearest to it."),
)

TREE = _schema(
    ("node", pa.int32(), "Node that the merge makes: M, M + 1, …; fine clusters are the nodes 0 … M-1, by row number."),
    ("left", pa.int32(), "Node that it joins, the one with the smaller number."),
    ("right", pa.int32(), "Node that it is joined with. The first M - K merges give K clusters."),
    ("height", pa.float64(), "Mean distance between the rows of the two; it never falls."),
    ("weight", pa.float64(), "Weight of the node: the patches of its segments, or its tokens."),
)

VOTES = _schema(
    ("left", pa.list_(pa.int32()), "Left node of every merge of this clustering, as in tree.parquet, the first row's."),
    ("right", pa.list_(pa.int32()), "Right node of every merge."),
    ("height", pa.list_(pa.float64()), "Height of every merge."),
    ("weight", pa.list_(pa.float64()), "Weight of every merge."),
    (
        "fine",
        pa.list_(pa.int32()),
        "Fine cluster of centroids.parquet, of every pair of fine clusters that share area.",
    ),
    ("own", pa.list_(pa.int32()), "Fine cluster of this clustering, of every such pair."),
    ("area", pa.list_(pa.int64()), "Patches of the segments, or tokens, that are in both."),
)

TOKEN_CENTROIDS = _schema(
    ("centroid", pa.list_(pa.float64()), "Centroid of a cluster, of length 1, in the space of the (scaled) tokens."),
    ("tokens", pa.int64(), "Patch tokens assigned to it in the fit."),
)

HISTORY = _schema(
    ("iteration", pa.int32(), "Number of the iteration of the best restart, from 1."),
    ("inertia", pa.float64(), "Weighted sum of squared distances (1 - cosine where spherical) before the update."),
    ("shift", pa.float64(), "Squared distance by which the centroids moved, summed."),
    ("relocated", pa.int32(), "Empty clusters that were moved."),
)

SCALING = _schema(
    (
        "mean",
        pa.float64(),
        "Mean of a coordinate of the descriptors (of the tokens, in token_tree/ and baseline/), subtracted from it.",
    ),
    ("deviation", pa.float64(), "Its divisor after that: the standard deviation, or 1 where only centred."),
)

PCA = _schema(
    ("mean", pa.list_(pa.float64()), "Mean of the (scaled) descriptors, the same in every row."),
    ("component", pa.list_(pa.float64()), "A direction, largest variance first."),
    ("explained", pa.float64(), "Its share of the total variance."),
    ("factor", pa.float64(), "What the coordinate along it is multiplied by, to whiten."),
)

TRAINING_HISTORY = _schema(
    ("step", pa.int32(), "Optimiser steps done, from 1."),
    ("epoch", pa.int32(), "Number of the epoch, from 0."),
    ("train_loss", pa.float64(), "Loss of the step's batches; `refine.loss` says which one."),
    ("learning_rate", pa.float64(), "AdamW's learning rate in that step."),
    ("held_out_loss", pa.float64(), "The same loss on the held-out images after an epoch's last step, else null."),
)

HEAD_HISTORY = _schema(
    ("step", pa.int32(), "Optimiser steps done, from 1."),
    ("same", pa.float64(), "Loss of the points of images and their own, mean over the step."),
    ("similar", pa.float64(), "Loss of the points of images and those of images like them."),
    ("other", pa.float64(), "Loss of the points of images and those of any others."),
)

EM_HISTORY = _schema(
    ("step", pa.int32(), "Optimiser steps done, from 1."),
    ("round", pa.int32(), "Number of the round, from 1."),
    ("loss", pa.float64(), "Generalised cross entropy of the segments' classes, mean over the step's tokens."),
    ("agreement", pa.float64(), "Share of the tokens that kept their class, after a round's last step, else null."),
)

PRETRAINING_HISTORY = _schema(
    ("step", pa.int32(), "Optimiser steps done, from 1."),
    ("loss", pa.float64(), "Sum of the losses (with texture weighted by 0.5, 0.5 and 4), mean over the batch."),
    ("cls_loss", pa.float64(), "Cross entropy of the CLS tokens' prototypes, in nats."),
    ("patch_loss", pa.float64(), "Cross entropy of the patches' prototypes, in nats; 0 where none are taught."),
    ("texture_loss", pa.float64(), "Distance of patch tokens from their texture, about 1 - cosine; else 0."),
    ("deviation", pa.float64(), "Deviation of the teacher's patch tokens without texture: 0 where all equal, max 1."),
    ("information", pa.float64(), "Information of a view's prototype about the view, in nats; 0 where collapsed."),
    ("learning_rate", pa.float64(), "AdamW's learning rate in that step."),
    ("effective_rank", pa.float64(), "RankMe of held-out images' patch tokens, at checkpoints, else null."),
)

MASKS = _schema(
    ("image_id", pa.string(), "The image."),
    ("mask", pa.binary(), "PNG of cluster ids at the image's size: 8-bit, noise 255, or 16-bit, noise 65535."),
)

EXPORTED = _schema(
    ("image_id", pa.string(), "The image."),
    ("split", pa.string(), "Split of the export that it belongs to."),
    ("files", pa.list_(pa.string()), "Files that it became: paths in the folder of the format."),
    ("record", pa.list_(pa.large_binary()), "Its part of the files of the whole set."),
)

INITIAL_MASKS = pa.schema(
    [
        *MASKS,
        *_schema(
            ("segment_clusters", pa.list_(pa.int32()), "Cluster of every valid segment."),
            ("segment_distances", pa.list_(pa.float32()), "Distance of its descriptor to the nearest centroid."),
            ("segment_fine", pa.list_(pa.int32()), "Fine cluster of that centroid: its row number, whatever K is."),
            ("segment_second", pa.list_(pa.int32()), "Second nearest fine cluster; -1 where there is one only."),
            ("segment_second_distances", pa.list_(pa.float32()), "Distance to its centroid."),
        ),
    ]
)

#: Of ``named/``; `C` classes are those of the facts of its commit.
NAMED_MASKS = _schema(
    ("image_id", pa.string(), "The image."),
    ("height", pa.int32(), "Rows of the image, in pixels."),
    ("width", pa.int32(), "Columns of the image, in pixels."),
    (
        "mask",
        pa.binary(),
        "PNG of class ids at the image's size: 8-bit, 255 = no class or an ignored one; or 16-bit, 65535.",
    ),
    (
        "segment_classes",
        pa.list_(pa.int32()),
        "Class of every valid segment, -1 = none; null where the image has no segments, as in `datus2 predict`.",
    ),
)

#: Of ``taught/``.
TAUGHT_MASKS = pa.schema(
    [
        *NAMED_MASKS,
        *_schema(
            (
                "confidence",
                pa.binary(),
                "8-bit PNG of the patch grid, not of the image: 255 times the probability of the class of a patch.",
            ),
            (
                "segment_confidence",
                pa.list_(pa.float32()),
                "Mean probability of the class over the patches of every valid segment; 1 where it was named alone.",
            ),
        ),
    ]
)


#: A cell of a confusion matrix: class, cluster (K is noise) and the pixels that have both.
CONFUSION_CELL = pa.list_(pa.int64(), 3)


def confusion(sets: list[str]) -> pa.Schema:
    """Return the schema of ``evaluate/``: one row per image, one column for each of the `sets` of masks."""
    text = "Class, cluster (K is noise) and pixels of every cell that is not 0; null without ground truth."
    return _schema(("image_id", pa.string(), "The image."), *((name, pa.list_(CONFUSION_CELL), text) for name in sets))
