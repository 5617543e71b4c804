"""How the settings of a run are put together and checked.

Later wins: the defaults of the models, the preset, ``--config FILE``, ``--set stage.key=value``, the flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from datus2_ray.config.catalogue import removed_settings, suggest
from datus2_ray.config.presets import DEFAULT, merge, parse_settings, preset_values
from datus2_ray.config.protocol import check_mirror
from datus2_ray.config.run import RunConfig
from datus2_ray.errors import StorageError, UsageError
from datus2_ray.version import VERSION

#: Flags that set something of a stage: the stage, the setting, and the value if the flag is a switch.
STAGE_FLAGS: dict[str, tuple[str, str, Any]] = {
    "image_column": ("ingest", "image_column", None),
    "id_column": ("ingest", "id_column", None),
    "mask_column": ("ingest", "mask_column", None),
    "bands": ("ingest", "bands", None),
    "masks": ("ingest", "masks", None),
    "ignore_id": ("ingest", "ignore_id", None),
    "no_refine": ("refine", "enabled", False),
}


def load(
    flags: Mapping[str, Any], *, preset: str = DEFAULT, config_file: str | None = None, assignments: Sequence[str] = ()
) -> RunConfig:
    """Put the settings of a run together.

    Parameters
    ----------
    flags : mapping
        Fields of :class:`RunConfig` and names of :data:`STAGE_FLAGS`; ``None`` means not given.
    config_file : str, optional
        YAML file (or URI) of settings.
    assignments : sequence of str
        ``stage.key=value`` items; the value is read as YAML.

    Returns
    -------
    RunConfig
        Its paths are absolute; relative ones, those in the file too, are relative to the working directory.

    Raises
    ------
    UsageError
        If the preset or a key is unknown, a value is out of range, or settings do not fit each other.
    """
    from datus2_ray.store import storage  # imports Arrow, for which no help text should wait

    given: dict[str, Any] = {}
    if config_file is not None:
        read = parse_settings(storage.read_bytes(config_file), config_file)
        if "preset" in read:
            raise UsageError(f"{config_file}: a preset is chosen by --preset, not in a file of settings")
        given = read
    given = merge(given, parse_assignments(assignments))
    for name, value in flags.items():
        if value is not None:
            stage, key, switched = STAGE_FLAGS.get(name, ("", name, None))
            value = value if switched is None else switched
            given = merge(given, {stage: {key: value}} if stage else {key: value})
    check_mirror(given)
    settings = merge({"preset": preset, **preset_values(preset)}, given)
    if removed := removed_settings(settings):
        raise UsageError("; ".join(removed))
    return resolve_paths(_validate(settings))


def change(config: RunConfig, **changes: Any) -> RunConfig:
    """Return settings with some of them changed; raise a UsageError as :func:`load` does."""
    return _validate({**config.model_dump(), **changes})


def load_from_command(flags: Mapping[str, Any]) -> RunConfig:
    """Put the settings of a command together from its flags, among them ``preset``, ``config`` and ``assignments``."""
    # A switch that was not given is False, and must not overrule a file of settings.
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    preset, file, assignments = given.pop("preset", DEFAULT), given.pop("config", None), given.pop("assignments", ())
    return load(given, preset=preset, config_file=file, assignments=assignments)


def read_config(uri: str) -> RunConfig:
    """Read the settings of a finished run, its ``config.json``.

    Raises
    ------
    StorageError
        If the file is missing or holds settings that this version does not have.
    """
    from datus2_ray.store import storage  # imports Arrow, for which no help text should wait

    return parse_config(storage.read_json(uri), uri)


def parse_config(settings: dict[str, Any], uri: str) -> RunConfig:
    """Check the settings of a run that a file holds; raise a StorageError if this version does not have them."""
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        faults = "; ".join(removed_settings(settings)) or _describe(error)
        raise StorageError(
            f"{uri} was written by another version than {VERSION} ({faults}); do the run again in a new folder"
        ) from error


def resolve_paths(config: RunConfig) -> RunConfig:
    """Make source, out and files of weights absolute: a worker has another working directory than the driver."""
    from datus2_ray.store import storage  # imports Arrow, for which no help text should wait

    discover = config.discover.model_copy(update={"cnn": _absolute_weights(config.discover.cnn)})
    refine = config.refine.model_copy(update={"encoder_start": _absolute_weights(config.refine.encoder_start)})
    places = {"source": storage.absolute(config.source), "out": storage.absolute(config.out)}
    models = {"backbone": _absolute_weights(config.backbone), "discover": discover, "refine": refine}
    return config.model_copy(update={**places, **models})


def _validate(settings: Mapping[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_describe(error)) from error


def _absolute_weights(spec: str | None) -> str | None:
    from datus2_ray.store import storage  # imports Arrow, for which no help text should wait

    # FILE, FOLDER or FILE::NAME; anything else, such as a timm name, stays as it is
    file, separator, name = (spec or "").partition("::")
    return f"{storage.absolute(file)}{separator}{name}" if file and Path(file).expanduser().exists() else spec


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``stage.key=value`` items; UsageError if one is none."""
    settings: dict[str, Any] = {}
    for assignment in assignments:
        settings = merge(settings, _parse_assignment(assignment))
    return settings


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


def _describe(error: ValidationError) -> str:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown setting {key}{suggest(key)}")
        elif fault["type"] == "value_error":  # settings of a stage that do not fit each other
            lines.append(f"{key}: {fault['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"setting {key} = {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)
