"""Every setting of a run: one frozen pydantic model a stage, a line of help a field, and how they are put together.

Later wins: the model's defaults, the preset's YAML file, ``--config FILE``, ``--set stage.key=value``, the flags.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from datus2_ray import storage
from datus2_ray.errors import UsageError

#: Marks a field that changes how fast a result is had, never the result: it stays out of the fingerprints.
EXECUTION: dict[str, Any] = {"execution": True}


class StageConfig(BaseModel):
    """What the settings of all stages share: they are frozen and refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """Give the settings that decide the result, for the stage's fingerprint."""
        execution = {name for name, field in type(self).model_fields.items() if field.json_schema_extra == EXECUTION}
        return self.model_dump(mode="json", exclude=execution)


def absolute_weights(spec: str | None) -> str | None:
    """Make the file in a weights setting (``FILE`` or ``FILE::NAME``) absolute; a name stays as it is."""
    file, separator, name = (spec or "").partition("::")
    return f"{storage.absolute(file)}{separator}{name}" if file and Path(file).is_file() else spec


class IngestConfig(StageConfig):
    """Ingest: source → ``images/``."""

    images_per_part: int = Field(16, ge=1, description="Images in a part, the unit of work, of resume and of a file.")


class DiscoverConfig(StageConfig):
    """Discover: images → ``segments/``."""

    input_size: int = Field(224, ge=32, description="Side of the square that the backbone sees, in pixels.")
    feature: Literal["key", "query", "value", "token"] = Field("key", description="Patch vectors that span the graph.")
    block: int = Field(-1, description="Transformer block they are taken from; -1 is the last.")
    louvain: Literal["scikit-network", "networkx", "python-louvain"] = Field(
        "scikit-network", description="Library that clusters the graph."
    )
    resolution: float = Field(1.0, gt=0, description="Louvain's resolution; higher gives more, smaller communities.")
    tau: int = Field(5, ge=0, description="A segment is valid if it has more patches than this, noise otherwise.")
    descriptor: Literal["cls", "tokens", "cnn"] = Field(
        "cls", description="Segment feature: CLS of its crop, mean of its patch tokens, or a CNN on its crop."
    )
    cnn: str | None = Field(None, description="CNN for descriptor=cnn: a timm name, a file, or untrained:resnet50.")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Arithmetic of the forward passes.")
    batch_size: int = Field(4, ge=1, description="Images a forward pass.", json_schema_extra=EXECUTION)
    crop_batch_size: int = Field(4, ge=1, description="Crops a forward pass.", json_schema_extra=EXECUTION)
    actors: int | None = Field(
        None, ge=1, description="Actors in each pool; default one a GPU, else one a CPU.", json_schema_extra=EXECUTION
    )

    @field_validator("cnn")
    @classmethod
    def _absolute_file(cls, spec: str | None) -> str | None:
        return absolute_weights(spec)


class ClusterConfig(StageConfig):
    """Cluster: segment descriptors → ``clusters/``."""

    algorithm: Literal["lloyd", "minibatch"] = Field("lloyd", description="Exact Lloyd or mini-batch k-means.")
    metric: Literal["euclidean", "spherical"] = Field("euclidean", description="Distance between descriptors.")
    start: Literal["k-means++", "k-means||", "random"] = Field("k-means++", description="How the first centroids come.")
    restarts: int = Field(10, ge=1, description="Starts of which the one with the lowest inertia is kept.")
    max_iterations: int = Field(300, ge=1, description="Most Lloyd iterations a restart.")
    tolerance: float = Field(1e-4, ge=0, description="Stop when the centroids move less than this times the variance.")
    epochs: int = Field(50, ge=1, description="Passes over the data in mini-batch mode.")
    batch_size: int = Field(1024, ge=1, description="Descriptors a step in mini-batch mode.")
    start_sample: int = Field(100_000, ge=2, description="Most descriptors that k-means++ chooses from.")
    pca: int | None = Field(None, ge=1, description="Dimensions that PCA keeps; default no PCA.")
    weights: Literal["none", "area"] = Field("none", description="Weight of a segment: all equal, or its patches.")
    shard_rows: int = Field(32_768, ge=1, description="Descriptors in a fixed shard, the unit of exact summation.")
    workers: int | None = Field(
        None, ge=1, description="Actors that hold the shards; default one a CPU.", json_schema_extra=EXECUTION
    )


class RefineConfig(StageConfig):
    """Refine: images + initial masks → DeepLabV3 → ``masks/refined/``."""

    enabled: bool = Field(True, description="Whether masks are refined at all.")
    encoder: str | None = Field(None, description="Encoder; default resnet50 on a GPU, resnet18 on a CPU.")
    encoder_start: str = Field(
        "random", description="Encoder weights: random, a local file, a timm name, or supervised (asked for, reported)."
    )
    output_stride: Literal[8, 16] = Field(16, description="Pixels a cell of the encoder's last feature map.")
    size: int = Field(224, ge=64, description="Side of the square that DeepLabV3 sees, in pixels.")
    batch_size: int = Field(8, ge=2, description="Images an optimiser step, over all workers.")
    steps: int = Field(400, ge=1, description="Optimiser steps.")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's highest learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's weight decay.")
    held_out: float = Field(0.1, gt=0, le=0.5, description="Share of images whose loss chooses the checkpoint.")
    min_images: int = Field(20, ge=2, description="Under so many images the step is skipped.")
    workers: int | None = Field(None, ge=1, description="Training workers; default one a GPU, else up to two.")

    @field_validator("encoder_start")
    @classmethod
    def _absolute_file(cls, spec: str) -> str | None:
        return absolute_weights(spec)


class EvaluateConfig(StageConfig):
    """Evaluate: masks + ground truth → ``metrics.json``."""

    token_kmeans: bool = Field(True, description="Also score plain k-means on patch tokens, the baseline.")
    token_restarts: int = Field(3, ge=1, description="Restarts of the baseline.")
    token_sample: int = Field(2_000_000, ge=2, description="Most tokens that the baseline is fitted on.")


class RunConfig(StageConfig):
    """A whole run: what goes in, where it goes, and the settings of every stage."""

    source: str = Field(description="Folder of images or data-set root; a local path or s3:// URI.")
    out: str = Field(description="Run folder; a local path or s3:// URI.")
    dataset: str = Field("folder", description="Layout of the source and its class names.")
    split: str | None = Field(None, description="Split of the data set; default all of them.")
    preset: str = Field("paper", description="Name of the preset that the settings started from.")
    backbone: str | None = Field(None, description="timm name, file, or untrained:NAME; default the packaged ViT.")
    clusters: int | None = Field(None, ge=2, description="Number of clusters K; default the data set's classes.")
    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    limit: int | None = Field(None, ge=1, description="Only the first N image ids in sorted order.")
    max_error_rate: float = Field(0.05, ge=0, le=1, description="The run ends when more than this share is unusable.")
    save_png: bool = Field(False, description="Also write the masks as palette PNG files.")
    no_progress_seconds: int = Field(180, ge=1, description="A stage that moves nothing for so long fails.")
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="Ingest.")
    discover: DiscoverConfig = Field(default_factory=DiscoverConfig, description="Discover.")
    cluster: ClusterConfig = Field(default_factory=ClusterConfig, description="Cluster.")
    refine: RefineConfig = Field(default_factory=RefineConfig, description="Refine.")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="Evaluate.")

    @field_validator("source", "out")
    @classmethod
    def _absolute(cls, uri: str) -> str:
        # A worker has another working directory than the driver.
        return storage.absolute(uri)

    @field_validator("backbone")
    @classmethod
    def _absolute_file(cls, spec: str | None) -> str | None:
        return absolute_weights(spec)


def preset_names() -> list[str]:
    """Give the names of the presets that the package ships."""
    folder = resources.files("datus2_ray") / "presets"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load(
    flags: dict[str, Any], *, preset: str = "paper", config_file: str | None = None, assignments: tuple[str, ...] = ()
) -> RunConfig:
    """Put a run's settings together.

    Parameters
    ----------
    flags : dict
        Top-level fields given by flag; ``None`` means not given.
    preset : str
        Name of a packaged preset.
    config_file : str, optional
        YAML file (or URI) of settings.
    assignments : tuple of str
        ``stage.key=value`` items; the value is read as YAML.

    Raises
    ------
    UsageError
        Unknown preset or key, or a value out of range: says which.
    """
    if preset not in preset_names():
        raise UsageError(f"unknown preset {preset!r}; there are {', '.join(preset_names())}")
    text = (resources.files("datus2_ray") / "presets" / f"{preset}.yaml").read_text()
    settings: dict[str, Any] = {"preset": preset, **_mapping(text, f"preset {preset}")}
    if config_file is not None:
        settings = _merge(settings, _mapping(storage.read_bytes(config_file), config_file))
    for assignment in assignments:
        settings = _merge(settings, _parse_assignment(assignment))
    settings = _merge(settings, {name: value for name, value in flags.items() if value is not None})
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_describe(error)) from error


def _mapping(text: str | bytes, origin: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{origin} must hold settings (key: value), not a {type(value).__name__}")
    if "preset" in value:
        raise UsageError(f"{origin}: a preset is chosen by --preset, not in a file of settings")
    return value


def _parse_assignment(assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {assignment!r} is not of the form stage.key=value, for example discover.tau=3")
    if key.strip() == "preset":
        raise UsageError("a preset is chosen by --preset, not by --set")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {assignment!r}: the value is not YAML; put quotes around it") from error
    for name in reversed(key.strip().split(".")):
        value = {name: value}
    return dict(value)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _describe(error: ValidationError) -> str:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown setting {key}{_known_beside(fault['loc'])}")
        else:
            lines.append(f"setting {key} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)


def _known_beside(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        model = cast("type[BaseModel]", model.model_fields[str(part)].annotation)
    return f"; there are {', '.join(model.model_fields)}"
