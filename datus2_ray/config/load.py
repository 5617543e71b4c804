"""The settings of a whole run, and how they are put together.

Later wins: the model's defaults, the preset's YAML file, ``--config FILE``, ``--set stage.key=value``, the flags.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal, cast

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from datus2_ray.config.stages import (
    ClusterConfig,
    DiscoverConfig,
    EvaluateConfig,
    IngestConfig,
    LabelConfig,
    PretrainConfig,
    RefineConfig,
    StageConfig,
    absolute_weights,
)
from datus2_ray.errors import UsageError
from datus2_ray.store import storage


class RunConfig(StageConfig):
    """A whole run: what goes in, where it goes, and the settings of every stage."""

    source: str = Field(description="Folder of images or data-set root; a local path or s3:// URI.")
    out: str = Field(description="Run folder; a local path or s3:// URI.")
    dataset: str = Field("folder", description="Layout of the source and its class names.")
    split: str | None = Field(None, description="Split of the data set; default all of them.")
    preset: str = Field("paper", description="Name of the preset that the settings started from.")
    backbone: str | None = Field(
        None, description="timm name, file or s3:// URI, or untrained:NAME; default the packaged ViT."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where models compute; auto takes GPUs that are there, cuda also asks a cluster for some."
    )
    clusters: int | None = Field(
        None,
        ge=2,
        description="Number of clusters K; default the data set's classes, else (descriptor tokens) found on a sample.",
    )
    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    limit: int | None = Field(None, ge=1, description="Only the first N image ids in sorted order.")
    max_error_rate: float = Field(0.05, ge=0, le=1, description="The run ends when more than this share is unusable.")
    save_png: bool = Field(False, description="Also write the masks as palette PNG files.")
    no_progress_seconds: int = Field(180, ge=1, description="A stage that moves nothing for so long fails.")
    ingest: IngestConfig = Field(default_factory=IngestConfig, description="Ingest.")
    discover: DiscoverConfig = Field(default_factory=DiscoverConfig, description="Discover.")
    cluster: ClusterConfig = Field(default_factory=ClusterConfig, description="Cluster.")
    label: LabelConfig = Field(default_factory=LabelConfig, description="Label.")
    refine: RefineConfig = Field(default_factory=RefineConfig, description="Refine.")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="Evaluate.")
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig, description="Pretrain.")

    @field_validator("source", "out")
    @classmethod
    def _absolute(cls, uri: str) -> str:
        # A worker has another working directory than the driver.
        return storage.absolute(uri)

    @field_validator("backbone")
    @classmethod
    def _absolute_file(cls, spec: str | None) -> str | None:
        return absolute_weights(spec)


#: Flags that set something of a stage: the stage, the setting, and the value where the flag has none of its own.
STAGE_FLAGS: dict[str, tuple[str, str, Any]] = {
    "image_column": ("ingest", "image_column", None),
    "id_column": ("ingest", "id_column", None),
    "mask_column": ("ingest", "mask_column", None),
    "no_refine": ("refine", "enabled", False),
}


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
        Top-level fields given by flag, and those of :data:`STAGE_FLAGS`; ``None`` means not given.
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
    for name, value in flags.items():
        if value is not None:
            stage, setting, setting_value = STAGE_FLAGS.get(name, ("", name, None))
            value = value if setting_value is None else setting_value
            settings = _merge(settings, {stage: {setting: value}} if stage else {setting: value})
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_describe(error)) from error


def from_command(parameters: dict[str, Any]) -> RunConfig:
    """Put the settings of a command together from its parameters, as the command line parsed them.

    Parameters
    ----------
    parameters : dict
        Flags by name, among them ``preset``, ``config`` and ``assignments`` where the command has them.

    Raises
    ------
    UsageError
        As :func:`load`.
    """
    # A switch that was not given is False, and must not overrule a file of settings.
    flags = {name: value for name, value in parameters.items() if value is not None and value is not False}
    flags.pop("debug", None)
    preset, file = str(flags.pop("preset", "paper")), flags.pop("config", None)
    assignments = tuple(flags.pop("assignments", ()))
    return load(flags, preset=preset, config_file=file, assignments=assignments)


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
        elif isinstance(fault["input"], dict):  # what a stage's settings are to each other
            lines.append(f"settings of {key}: {fault['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"setting {key} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)


def _known_beside(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = RunConfig
    for part in location[:-1]:
        model = cast("type[BaseModel]", model.model_fields[str(part)].annotation)
    return f"; there are {', '.join(model.model_fields)}"
