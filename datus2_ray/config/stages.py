"""The settings of every stage: one frozen pydantic model each, a line of help a field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from datus2_ray.core.pretrain.recipe import Recipe
from datus2_ray.store import storage

#: Marks a field that changes how fast a result is had, never the result: it stays out of the fingerprints.
EXECUTION: dict[str, Any] = {"execution": True}


class StageConfig(BaseModel):
    """What the settings of all stages share: they are frozen and refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """Give the settings that decide the result, for the stage's fingerprint."""
        execution = {name for name, field in type(self).model_fields.items() if field.json_schema_extra == EXECUTION}
        return self.model_dump(mode="json", exclude=execution)


def choose_arithmetic(dtype: Literal["float32", "bfloat16"] | None, device: str) -> Literal["float32", "bfloat16"]:
    """Give the arithmetic of forward passes on ``cpu`` or ``cuda``: what is set, else bfloat16 on a GPU alone."""
    return dtype or ("bfloat16" if device == "cuda" else "float32")


def absolute_weights(spec: str | None) -> str | None:
    """Make the file in a weights setting (``FILE`` or ``FILE::NAME``) absolute; a name stays as it is."""
    file, separator, name = (spec or "").partition("::")
    return f"{storage.absolute(file)}{separator}{name}" if file and Path(file).is_file() else spec


class IngestConfig(StageConfig):
    """Ingest: source → ``images/``."""

    images_per_part: int = Field(
        16, ge=1, description="Images in a part, the unit of work, of resume and of a file; of shards: a row group."
    )
    image_column: str | None = Field(None, description="Column of shards that holds the encoded image; default image.")
    id_column: str | None = Field(
        None, description="Column that holds the image's id; default image_id, else shard and row."
    )
    mask_column: str | None = Field(None, description="Column that holds the encoded mask; default mask, if any.")
    shard_megabytes: int = Field(128, ge=1, le=1024, description="Size of the shards that `datus2 ingest` writes.")
    row_group_rows: int = Field(64, ge=1, le=256, description="Images in a row group of such a shard.")


class DiscoverConfig(StageConfig):
    """Discover: images → ``segments/``."""

    input_size: int = Field(
        224, ge=32, description="Side of the square that the backbone sees, or its shorter side, in pixels."
    )
    keep_aspect: bool = Field(False, description="Keep the images' aspect, up to 1 to 3, instead of making squares.")
    mirror: bool = Field(
        False, description="See every image mirrored too; a patch gets the mean of both views. Twice the time."
    )
    tile: int | None = Field(
        None, ge=32, description="See larger images through overlapping windows of this side; default whole."
    )
    reduced_decoding: bool = Field(
        False, description="Decode JPEGs at 1/2, 1/4 or 1/8 where input_size allows: faster, pixels differ a little."
    )
    feature: Literal["key", "query", "value", "token"] = Field("key", description="Patch vectors that span the graph.")
    block: int = Field(-1, description="Transformer block they are taken from; -1 is the last.")
    blocks: int = Field(1, ge=1, description="Blocks, that one the last, over whose vectors the mean is taken.")
    graph: Literal["binary", "neighbours"] = Field(
        "binary", description="Links: all positive products, or cosines with each patch's nearest neighbours."
    )
    neighbours: int = Field(16, ge=1, description="Nearest neighbours that a patch is linked with, in that graph.")
    threshold: float = Field(0.0, ge=0, lt=1, description="Weights up to this are no links, in that graph.")
    place: float = Field(
        0.0, ge=0, le=10, description="What a pair's cosine loses on average for lying apart, in that graph."
    )
    colour: float = Field(0.0, ge=0, le=10, description="The same for the difference of the patches' mean colours.")
    louvain: Literal["compiled", "networkx", "python-louvain"] = Field(
        "compiled", description="What clusters the graph; compiled is our own and gives scikit-network's partition."
    )
    louvain_orders: int = Field(
        1, ge=1, description="Orders of the patches that compiled tries; of several the highest modularity is kept."
    )
    resolution: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = Field(
        1.0,
        description="Louvain's resolution; higher: more, smaller communities. auto: found on a sample, without labels.",
    )
    tau: int = Field(5, ge=0, description="A segment is valid if it has more patches than this, noise otherwise.")
    noise: Literal["kept", "given"] = Field(
        "kept", description="Patches of no valid segment: kept as noise, or given to the segment they are most alike."
    )
    descriptor: Literal["cls", "tokens", "tokens+cls", "cnn"] = Field(
        "cls", description="Segment feature: CLS of its crop, mean of its patch tokens, both, or a CNN on its crop."
    )
    cnn: str | None = Field(
        None, description="CNN for descriptor=cnn: a timm name, file or s3:// URI, or untrained:resnet50."
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        "float32", description="Arithmetic of the forward passes; null: bfloat16 on a GPU, float32 on a CPU."
    )
    compile: bool = Field(
        False, description="Compile the transformer's blocks by torch.compile, in every actor's first pass."
    )
    batch_size: int | None = Field(
        None, ge=1, description="Images a forward pass; default 4 on a CPU, 8 on a GPU (there a change does it again).",
        json_schema_extra=EXECUTION,
    )  # fmt: skip
    crop_batch_size: int | None = Field(
        None, ge=1, description="Crops a forward pass; default 4 on a CPU, 32 on a GPU (there a change does it again).",
        json_schema_extra=EXECUTION,
    )  # fmt: skip
    actors: int | None = Field(
        None,
        ge=1,
        description="Actors in each pool (predict's too), at the start; default one a GPU, else one a CPU.",
        json_schema_extra=EXECUTION,
    )
    max_actors: int | None = Field(
        None, ge=1, description="Actors that each pool may grow to; default it does not grow.",
        json_schema_extra=EXECUTION,
    )  # fmt: skip
    gpus_per_actor: float | None = Field(
        None, ge=0.01, le=1, description="Share of a GPU that an actor reserves; default as many share one as need to.",
        json_schema_extra=EXECUTION,
    )  # fmt: skip

    @field_validator("cnn")
    @classmethod
    def _absolute_file(cls, spec: str | None) -> str | None:
        return absolute_weights(spec)

    @model_validator(mode="after")
    def _fits_itself(self) -> DiscoverConfig:
        if self.descriptor == "cnn" and self.cnn is None:
            raise ValueError("descriptor = cnn needs a network: --set discover.cnn=FILE (or untrained:resnet50)")
        if self.noise == "given" and self.descriptor != "tokens":
            # Patches from all over an image would stretch the box that is cut out.
            raise ValueError(f"noise = given needs descriptor = tokens, not {self.descriptor}: crops show whole boxes")
        if self.resolution == "auto" and self.descriptor != "tokens":
            # At each of many resolutions every crop would have to be seen.
            raise ValueError(f"resolution = auto needs descriptor = tokens, not {self.descriptor}; or give a number")
        if self.tile is not None and self.tile >= self.input_size and not self.keep_aspect:
            raise ValueError(
                f"tile = {self.tile} must be below input_size = {self.input_size}: it would show the whole"
            )
        if self.graph == "binary" and (self.threshold or self.place or self.colour):
            raise ValueError("threshold, place and colour are of graph = neighbours: a binary graph has no weights")
        if 0 <= self.block < self.blocks - 1:
            raise ValueError(f"blocks = {self.blocks} are more than there are up to block = {self.block}")
        if self.louvain_orders > 1 and self.louvain != "compiled":
            raise ValueError(f"louvain_orders = {self.louvain_orders} needs louvain = compiled, not {self.louvain}")
        if self.actors and self.max_actors and self.max_actors < self.actors:
            raise ValueError(f"max_actors = {self.max_actors} must not be below actors = {self.actors}")
        return self

    def arithmetic(self, device: str) -> Literal["float32", "bfloat16"]:
        """Give the arithmetic of the forward passes on ``cpu`` or ``cuda``."""
        return choose_arithmetic(self.dtype, device)

    def batch_sizes(self, device: str) -> tuple[int, int]:
        """Give the images and the crops of a forward pass on ``cpu`` or ``cuda``."""
        # On a GPU two passes or more a part of 16 images, so that one is computed while the other is read.
        images, crops = (8, 32) if device == "cuda" else (4, 4)
        return self.batch_size or images, self.crop_batch_size or crops

    @property
    def describes_by_tokens(self) -> bool:
        """Whether patch tokens are part of the descriptors."""
        return self.descriptor in ("tokens", "tokens+cls")

    @property
    def pools(self) -> int:
        """Pools of model actors: one embeds images, a second one describes crops where that is wanted."""
        return 1 if self.descriptor == "tokens" else 2


class ClusterConfig(StageConfig):
    """Cluster: segment descriptors → ``clusters/``."""

    algorithm: Literal["lloyd", "minibatch"] = Field("lloyd", description="Exact Lloyd or mini-batch k-means.")
    metric: Literal["euclidean", "spherical"] = Field("euclidean", description="Distance between descriptors.")
    overclustering: int = Field(
        1, ge=1, description="Centroids a cluster: k-means finds so many times K, average linkage merges them to K."
    )
    start: Literal["k-means++", "k-means||", "random"] = Field("k-means++", description="How the first centroids come.")
    restarts: int = Field(10, ge=1, description="Starts of which the one with the lowest inertia is kept.")
    max_iterations: int = Field(300, ge=1, description="Most Lloyd iterations a restart.")
    tolerance: float = Field(1e-4, ge=0, description="Stop when the centroids move less than this times the variance.")
    epochs: int = Field(50, ge=1, description="Passes over the data in mini-batch mode.")
    batch_size: int = Field(1024, ge=1, description="Descriptors a step in mini-batch mode.")
    start_sample: int = Field(100_000, ge=2, description="Most descriptors that k-means++ chooses from.")
    scaling: Literal["none", "centred", "standardised"] = Field(
        "none",
        description="centred takes off the mean of all descriptors, which matters to the spherical metric; "
        "standardised also brings every coordinate to deviation 1. The baseline's tokens likewise.",
    )
    pca: int | None = Field(None, ge=1, description="Dimensions that PCA keeps; default no PCA.")
    weights: Literal["none", "area"] = Field("none", description="Weight of a segment: all equal, or its patches.")
    workers: int | None = Field(
        None, ge=1, description="Actors that hold the descriptors; default one per CPU.", json_schema_extra=EXECUTION
    )


class LabelConfig(StageConfig):
    """Label: segments + centroids → ``masks/initial/``."""

    edges: Literal["patches", "image"] = Field(
        "patches",
        description="Borders of the initial masks: the patches', or along the edges of the image (PAMR).",
    )


class RefineConfig(StageConfig):
    """Refine: images + initial masks → DeepLabV3, or a layer on tokens → ``masks/refined/``."""

    enabled: bool = Field(True, description="Whether masks are refined at all.")
    network: Literal["deeplabv3", "linear"] = Field(
        "deeplabv3",
        description="What learns: DeepLabV3 from the pixels, or a linear layer on the tokens of the frozen backbone.",
    )
    encoder: str | None = Field(None, description="DeepLabV3's encoder; default resnet50 on a GPU, resnet18 on a CPU.")
    encoder_start: str = Field(
        "random", description="Encoder weights: random, a file or s3:// URI, a timm name, or supervised (reported)."
    )
    output_stride: Literal[8, 16] = Field(16, description="Pixels a cell of DeepLabV3's last feature map.")
    size: int = Field(224, ge=64, description="Side of the square that the network sees, in pixels.")
    batch_size: int = Field(8, ge=2, description="Images an optimiser step, over all workers.")
    steps: int = Field(400, ge=1, description="Optimiser steps.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's highest learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay.")
    held_out: float = Field(0.1, gt=0, le=0.5, description="Share of images whose loss chooses the checkpoint.")
    loss: Literal["cross-entropy", "generalised"] = Field(
        "cross-entropy", description="Loss; the generalised cross entropy bears wrong labels better, and learns slower."
    )
    teacher: float = Field(
        0.0, ge=0, lt=1, description="Momentum of an averaged segmenter, which is then the one kept; 0 for none."
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="Arithmetic of the training; default bfloat16 on a GPU, float32 on a CPU."
    )
    mirror: bool = Field(False, description="Predict from an image and its mirror image: the mean of their logits.")
    min_images: int = Field(20, ge=2, description="Under so many images the step is skipped.")
    workers: int | None = Field(None, ge=1, description="Training workers; default one a GPU, else up to two.")

    @field_validator("encoder_start")
    @classmethod
    def _absolute_file(cls, spec: str) -> str | None:
        return absolute_weights(spec)

    @model_validator(mode="after")
    def _fits_itself(self) -> RefineConfig:
        if self.network == "deeplabv3" and self.size % self.output_stride:
            raise ValueError(f"size = {self.size} must be a multiple of output_stride = {self.output_stride}")
        if self.network == "linear" and (self.encoder or self.encoder_start != "random"):
            raise ValueError(
                "encoder and encoder_start are of network = deeplabv3, linear reads the run's backbone: leave them "
                "out, or set refine.network=deeplabv3"
            )
        return self


class EvaluateConfig(StageConfig):
    """Evaluate: masks + ground truth → ``metrics.json``."""

    token_kmeans: bool = Field(True, description="Also score plain k-means on patch tokens, the baseline.")
    token_restarts: int = Field(3, ge=1, description="Restarts of the baseline.")
    token_sample: int = Field(2_000_000, ge=2, description="Most tokens that the baseline is fitted on.")


class PretrainConfig(Recipe, StageConfig):
    """Pretrain: images → a backbone of one's own."""

    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="Arithmetic of the forward passes; default bfloat16 on a GPU, float32 on a CPU."
    )
    held_out: int = Field(128, ge=0, description="Images that are not trained on, for the score without labels.")
    checkpoint_steps: int = Field(500, ge=1, description="Steps between two checkpoints.")
    memory: float = Field(
        4.0, gt=0, description="GB of decoded images that a worker keeps; more are streamed, pass after pass."
    )
    workers: int | None = Field(
        None, ge=1, description="Training workers; default one a GPU, else one.", json_schema_extra=EXECUTION
    )

    @model_validator(mode="after")
    def _workers_share_a_batch(self) -> PretrainConfig:
        if self.workers and self.batch_size % self.workers:
            raise ValueError(f"batch_size = {self.batch_size} must be a multiple of workers = {self.workers}")
        return self
