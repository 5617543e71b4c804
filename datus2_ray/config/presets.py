"""Presets: ``best``, which is the defaults, and the YAML files of ``datus2_ray/presets``."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml

from datus2_ray.errors import UsageError

#: The preset of the defaults, which has no file.
DEFAULT = "best"

REMOVED = {"demo": "use --preset best"}


def preset_names() -> list[str]:
    """Return the names of all presets."""
    files = (resources.files("datus2_ray") / "presets").iterdir()
    return sorted([DEFAULT, *(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))])


def preset_values(name: str) -> dict[str, Any]:
    """Return what a preset changes in the defaults, per stage; raise a UsageError if there is no such preset."""
    if name in REMOVED:
        raise UsageError(f"preset {name!r} was removed: {REMOVED[name]}")
    if name not in preset_names():
        raise UsageError(f"unknown preset {name!r}; there are {', '.join(preset_names())}")
    if name == DEFAULT:
        return {}
    text = (resources.files("datus2_ray") / "presets" / f"{name}.yaml").read_text()
    values = parse_settings(text, f"preset {name}")
    return merge(preset_values(values.pop("extends", DEFAULT)), values)


def parse_settings(text: str | bytes, origin: str) -> dict[str, Any]:
    """Parse YAML that holds settings; raise a UsageError that names its origin if it does not."""
    try:
        settings = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise UsageError(f"{origin} must hold settings (key: value), not a {type(settings).__name__}")
    return settings


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings in which those of `above` win."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged
