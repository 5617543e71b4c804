"""The flags that several commands share: their names, types and lines of help."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from datus2_ray.config.load import RunConfig, preset_names
from datus2_ray.config.stages import IngestConfig, StageConfig
from datus2_ray.errors import UsageError


def help_of(field: str, model: type[StageConfig] = RunConfig) -> str:
    """Give the line of help of a setting."""
    return str(model.model_fields[field].description)


def numbers(flag: str, text: str | None) -> list[float]:
    """Read the numbers of a flag like ``--values 6,9,12``.

    Raises
    ------
    UsageError
        One of them is no number.
    """
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError as error:
        raise UsageError(f"{flag} {text}: give numbers with commas between them, such as 6,9,12") from error


def _one_of_devices(name: str | None) -> str | None:
    known = get_args(RunConfig.model_fields["device"].annotation)
    if name is not None and name not in known:
        raise UsageError(f"--device {name}: there are {', '.join(known)}")
    return name


Source = Annotated[
    str, typer.Argument(help="Folder of images, data-set root or Parquet shards; a local path or s3:// URI.")
]
Out = Annotated[str, typer.Option("--out", help="Run folder; a local path or s3:// URI.")]
Config = Annotated[str | None, typer.Option("--config", help="YAML file of settings.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="stage.key=value; may be given again.")]
Dataset = Annotated[str | None, typer.Option("--dataset", help=help_of("dataset"))]
Split = Annotated[str | None, typer.Option("--split", help=help_of("split"))]
Preset = Annotated[
    str, typer.Option("--preset", help=f"Preset that the settings start from: {', '.join(preset_names())}.")
]
Backbone = Annotated[str | None, typer.Option("--backbone", help=help_of("backbone"))]
Clusters = Annotated[int | None, typer.Option("--clusters", help=help_of("clusters"))]
Device = Annotated[
    str | None, typer.Option("--device", metavar="[auto|cpu|cuda]", help=help_of("device"), callback=_one_of_devices)
]
Seed = Annotated[int | None, typer.Option("--seed", help=help_of("seed"))]
Limit = Annotated[int | None, typer.Option("--limit", help=help_of("limit"))]
MaxErrorRate = Annotated[float | None, typer.Option("--max-error-rate", help=help_of("max_error_rate"))]
ImageColumn = Annotated[str | None, typer.Option("--image-column", help=help_of("image_column", IngestConfig))]
IdColumn = Annotated[str | None, typer.Option("--id-column", help=help_of("id_column", IngestConfig))]
MaskColumn = Annotated[str | None, typer.Option("--mask-column", help=help_of("mask_column", IngestConfig))]
NoRefine = Annotated[bool, typer.Option("--no-refine", help="Stop at the initial masks.")]
SavePng = Annotated[bool, typer.Option("--save-png", help=help_of("save_png"))]
Debug = Annotated[bool, typer.Option("--debug", help="Show Python's trace of an error.")]
