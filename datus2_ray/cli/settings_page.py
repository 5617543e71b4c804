"""The page that lists every setting, made from the models themselves so that it cannot go stale."""

from __future__ import annotations

from typing import cast

from datus2_ray.config.load import RunConfig
from datus2_ray.config.stages import EXECUTION, StageConfig

STAGES = ("ingest", "discover", "cluster", "label", "refine", "evaluate", "pretrain")


def settings_page() -> str:
    """Give a Markdown page of every setting: its key, its default, and its line of help."""
    lines = [
        "# Settings",
        "",
        "Later wins: defaults, `--preset`, `--config FILE` (YAML), `--set key=value`, flags.",
        "",
    ]
    lines += _table("The run", "", RunConfig, [name for name in RunConfig.model_fields if name not in STAGES])
    for stage in STAGES:
        model = cast("type[StageConfig]", RunConfig.model_fields[stage].annotation)
        lines += _table(stage.capitalize(), f"{stage}.", model, list(model.model_fields))
    return "\n".join(lines)


def _table(title: str, prefix: str, model: type[StageConfig], names: list[str]) -> list[str]:
    lines = [f"## {title}", "", "| setting | default | what it is |", "|---|---|---|"]
    for name in names:
        field = model.model_fields[name]
        default = "needed" if field.is_required() else f"`{field.default}`"
        speed = " Changes the speed only." if field.json_schema_extra == EXECUTION else ""
        lines.append(f"| `{prefix}{name}` | {default} | {field.description}{speed} |")
    return [*lines, ""]
