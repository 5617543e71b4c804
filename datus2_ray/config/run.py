"""Settings of a whole run: its own, and those of every stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, model_validator

from datus2_ray.config.base import StageConfig, check_fit, expert, setting
from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.config.discover import DiscoverConfig
from datus2_ray.config.evaluate import EvaluateConfig
from datus2_ray.config.export import ExportConfig
from datus2_ray.config.ingest import IngestConfig
from datus2_ray.config.label import LabelConfig
from datus2_ray.config.pretrain import PretrainConfig
from datus2_ray.config.protocol import PROTOCOLS, ProtocolName, with_mirror
from datus2_ray.config.refine import RefineConfig
from datus2_ray.core.images.rendering import Rendering


class RunConfig(StageConfig):
    """A whole run: what it reads, where it writes, and the settings of every stage."""

    source: str = Field(
        description="Folder of images, data-set root or Parquet shards; also one file, a pattern in quotes, or a text "
        "file of paths. A local path or a URI."
    )
    out: str = Field(description="Run folder; a local path or a URI.")
    dataset: str = setting("folder", "Layout of the source and names of its classes; `datus2 datasets` shows them.")
    split: str | None = setting(None, "Split of the data set, or of shards named as Hugging Face does; default all.")
    preset: str = setting("best", "Preset that the settings started from.")
    backbone: str | None = setting(
        None,
        "Backbone: a timm name, file, folder or s3:// URI, OWNER/NAME of the model hub, or untrained:NAME; default the "
        "packaged ViT.",
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Device of the models; auto uses the GPUs that are there, cuda also asks a cluster to start some."
    )
    clusters: int | None = setting(
        None, "Number of clusters K; default the number of classes of the data set, else found on a sample.", ge=2
    )
    seed: int = setting(0, "Seed of every random choice.", ge=0)
    protocol: ProtocolName = setting(
        "datus2",
        "What is scored: datus2, whole images at their own size; or stego, the middle of images and ground truth at "
        "320 pixels, with mirror images, as STEGO, CAUSE and PriMaPs publish.",
    )
    limit: int | None = setting(None, "Use only the first N image ids in sorted order.", ge=1)
    max_error_rate: float = expert(
        0.05, "The run ends when more than this share of the images is unusable.", ge=0, le=1
    )
    no_progress_seconds: int = expert(180, "A stage fails after this many seconds without progress.", ge=1)
    tracker: Literal["mlflow", "wandb"] | None = setting(
        None,
        "Send settings, curves, scores and report to a tracker too: mlflow, or wandb (offline); decides no result.",
    )
    ingest: IngestConfig = Field(default_factory=IngestConfig)
    discover: DiscoverConfig = Field(default_factory=DiscoverConfig)
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
    label: LabelConfig = Field(default_factory=LabelConfig)
    refine: RefineConfig = Field(default_factory=RefineConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig)

    @model_validator(mode="before")
    @classmethod
    def _with_mirror(cls, given: Any) -> Any:
        return with_mirror(given)

    @model_validator(mode="after")
    def _check_protocol(self) -> RunConfig:
        cropped = PROTOCOLS[self.protocol].crop is not None
        check_fit(
            (
                cropped and self.discover.reduced_decoding,
                f"protocol = {self.protocol} resizes whole images, which reduced_decoding does not decode",
                "discover.reduced_decoding=false",
            ),
            (
                cropped and self.export.format is not None,
                f"protocol = {self.protocol}: masks are of the middle of images and do not fit their files",
                "protocol=datus2, in a run for masks that are exported",
            ),
        )
        return self

    @property
    def rendering(self) -> Rendering:
        """How images become 8-bit RGB, as far as it is known before the set is."""
        return replace(self.ingest.rendering, crop=PROTOCOLS[self.protocol].crop)
