"""The flags that several commands share: their names, types and lines of help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from datus2_ray.config import RunConfig
from datus2_ray.config.catalogue import find_settings
from datus2_ray.config.load import STAGE_FLAGS, load_from_command
from datus2_ray.config.presets import DEFAULT, preset_names
from datus2_ray.errors import UsageError


def option(flag: str, key: str, **options: Any) -> Any:
    """Return the option of a setting, with its line of help, in the panel of its group."""
    (setting,) = find_settings(key)
    panel = None if setting.group == "common" else setting.group.capitalize()
    return typer.Option(flag, help=setting.text, rich_help_panel=panel, **options)


def numbers(flag: str, text: str | None) -> list[float]:
    """Parse the numbers of a flag such as ``--values 6,9,12``."""
    try:
        return [float(number) for number in text.split(",")] if text else []
    except ValueError as error:
        raise UsageError(f"{flag} {text}: give numbers with commas between them, such as 6,9,12") from error


def shares(flag: str, text: str) -> dict[str, float]:
    """Parse the shares of a flag such as ``--splits train=0.8,val=0.2``."""
    try:
        return {name.strip(): float(share) for name, share in (item.split("=") for item in text.split(","))}
    except ValueError as error:
        raise UsageError(f"{flag} {text}: give names and shares, such as train=0.8,val=0.2") from error


def _check_device(name: str | None) -> str | None:
    known = get_args(RunConfig.model_fields["device"].annotation)
    if name is not None and name not in known:
        raise UsageError(f"--device {name}: there are {', '.join(known)}")
    return name


Source = Annotated[str, typer.Argument(help=str(RunConfig.model_fields["source"].description))]
Out = Annotated[str, option("--out", "out")]
Dataset = Annotated[str | None, option("--dataset", "dataset")]
Split = Annotated[str | None, option("--split", "split")]
Protocol = Annotated[str | None, option("--protocol", "protocol", metavar="[datus2|stego]")]
Limit = Annotated[int | None, option("--limit", "limit")]
Preset = Annotated[str, typer.Option("--preset", help=f"Settings to start from: {', '.join(preset_names())}.")]
Backbone = Annotated[str | None, option("--backbone", "backbone")]
Clusters = Annotated[int | None, option("--clusters", "clusters")]
Device = Annotated[str | None, option("--device", "device", metavar="[auto|cpu|cuda]", callback=_check_device)]
Seed = Annotated[int | None, option("--seed", "seed")]
Set = Annotated[list[str] | None, typer.Option("--set", help="stage.key=value; may be given more than once.")]
Config = Annotated[str | None, typer.Option("--config", help="YAML file of settings.")]
NoRefine = Annotated[bool, typer.Option("--no-refine", help="Stop at the initial masks.")]
MaxErrorRate = Annotated[float | None, option("--max-error-rate", "max_error_rate")]
ImageColumn = Annotated[str | None, option("--image-column", "ingest.image_column")]
IdColumn = Annotated[str | None, option("--id-column", "ingest.id_column")]
MaskColumn = Annotated[str | None, option("--mask-column", "ingest.mask_column")]
Bands = Annotated[str | None, option("--bands", "ingest.bands", metavar="N,N,N")]
Masks = Annotated[str | None, option("--masks", "ingest.masks", metavar="PATTERN|none")]
IgnoreId = Annotated[list[str] | None, option("--ignore-id", "ingest.ignore_id")]
Tracker = Annotated[str | None, option("--tracker", "tracker", metavar="[mlflow|wandb]")]
Debug = Annotated[bool, typer.Option("--debug", help="Show Python's trace of an error.")]

#: Flags that make up the settings of a command, by the name of their parameter, in the order of the help.
FLAGS: dict[str, tuple[Any, Any]] = {
    "source": (Source, inspect.Parameter.empty),
    "out": (Out, inspect.Parameter.empty),
    "dataset": (Dataset, None),
    "split": (Split, None),
    "limit": (Limit, None),
    "protocol": (Protocol, None),
    "preset": (Preset, DEFAULT),
    "backbone": (Backbone, None),
    "clusters": (Clusters, None),
    "device": (Device, None),
    "seed": (Seed, None),
    "assignments": (Set, None),
    "config": (Config, None),
    "no_refine": (NoRefine, False),
    "max_error_rate": (MaxErrorRate, None),
    "image_column": (ImageColumn, None),
    "id_column": (IdColumn, None),
    "mask_column": (MaskColumn, None),
    "bands": (Bands, None),
    "masks": (Masks, None),
    "ignore_id": (IgnoreId, None),
    "tracker": (Tracker, None),
}

#: Flags of `datus2 run`, and the setting that each stands for.
SETTING_OF = {
    f"--{name.replace('_', '-')}": ".".join(part for part in STAGE_FLAGS.get(name, ("", name))[:2] if part)
    for name in FLAGS
    if name not in ("source", "out", "preset", "assignments", "config", "no_refine")
} | {"--no-refine": "refine.enabled=false"}


def takes_settings(*without: str, **instead: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add to a command the flags of :data:`FLAGS` and ``--debug``; its first parameter gets the settings made of them.

    Typer reads flags from the signature of a command: here they are added to its own.

    Parameters
    ----------
    *without : str
        Flags that the command does not have.
    **instead : Annotated
        Flags that have another line of help for this command.
    """
    flags = {name: (instead.get(name, flag), default) for name, (flag, default) in FLAGS.items() if name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def call(**given: Any) -> None:
            given.pop("debug")
            config = load_from_command({name: given.pop(name) for name in flags})
            command(config, **given)

        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        added = {**{parameter.name: (parameter.annotation, parameter.default) for parameter in own}, **flags}
        call.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for name, (annotation, default) in {**added, "debug": (Debug, False)}.items()
        ])  # fmt: skip
        return call

    return decorate
