"""The page of all settings, made from their declarations: ``datus2 settings > docs/settings.md``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from datus2_ray.config.catalogue import Setting, all_settings

GROUPS = ("common", "expert", "experimental")

INTRODUCTION = """# Settings

`datus2 settings KEY` shows one, or those of a stage. Later wins: defaults, `--preset`, `--config FILE` (YAML),
`--set key=value`, flags. The defaults are the preset `best`; where `--preset paper` has another value, it is named.
Experimental settings brought no gain where they were measured.
"""


def settings_page() -> str:
    """Return a Markdown page of every setting: its key, its default, and its line of help."""
    lines = [INTRODUCTION]
    for stage, settings in all_settings().items():
        lines += [f"## {stage.capitalize() or 'The run'}", ""]
        ordered = sorted(settings, key=lambda setting: GROUPS.index(setting.group))
        for group, members in groupby(ordered, key=lambda setting: setting.group):
            lines += _table(group, list(members))
    return "\n".join(lines)


def _table(group: str, settings: Sequence[Setting]) -> list[str]:
    lines = [f"| {group} | default | what it is |", "|---|---|---|"]
    for setting in settings:
        default = "needed" if setting.default is None else f"`{setting.default}`"
        paper = f" (paper `{setting.paper}`)" if setting.paper != setting.default else ""
        lines.append(f"| `{setting.key}` | {default}{paper} | {setting.help} |")
    return [*lines, ""]
