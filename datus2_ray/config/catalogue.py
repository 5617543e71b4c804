"""Every setting by its key: those that there are, for help and docs, and those that there were, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from datus2_ray.config.base import Decides, Group, StageConfig, extra_of
from datus2_ray.config.presets import preset_values
from datus2_ray.config.run import RunConfig
from datus2_ray.errors import UsageError

#: Settings, or single values of one, that earlier versions had, and what to do instead.
REMOVED = {
    "save_png": "use `datus2 export RUN --format png`, or export.format=png",
    "refine.rounds": "it brought no gain; leave it out",
    "refine.confidence": "it brought no gain; leave it out",
    "refine.balance": "it brought no gain; leave it out",
    "cluster.apart": "it brought no gain; leave it out",
    "cluster.overclustering": "use cluster.fine, the number of fine clusters itself, which does not depend on K",
    "cluster.shard_rows": "it is fixed now; leave it out",
    "discover.resolution=auto": "no choice without labels was better than a fixed one; give a number, or leave it out",
    "discover.louvain=scikit-network": "use compiled, which finds the same partition",
    "discover.dtype=None": "use auto",
    "refine.dtype=None": "use auto",
    "pretrain.dtype=None": "use auto",
}


@dataclass(frozen=True)
class Setting:
    """A setting; `default` and `paper` are its values in the presets ``best`` and ``paper``, None if it is needed."""

    key: str
    text: str
    default: str | None
    paper: str | None
    decides: Decides
    group: Group

    def __str__(self) -> str:
        value = "needed" if self.default is None else self.default
        paper = f", paper: {self.paper}" if self.paper != self.default else ""
        return f"{self.key} = {value} ({self.group}{paper}): {self.help}"

    @property
    def help(self) -> str:
        """Its line of help, with what it changes if that is not the result of its stage."""
        changes = {"result": "", "speed": " Changes the speed only.", "predict": " Changes the prediction only."}
        # Some say themselves what else they change.
        return self.text if "Changes the speed" in self.text else f"{self.text}{changes[self.decides]}"


@cache
def all_settings() -> dict[str, list[Setting]]:
    """Return the settings of every stage, after the run's own under an empty name."""
    models: dict[str, type[StageConfig]] = {"": RunConfig}
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, StageConfig):
            models[name] = field.annotation
    paper = preset_values("paper")
    return {
        stage: [
            _describe(model, name, stage, paper if not stage else paper.get(stage, {}))
            for name in model.model_fields
            if stage or name not in models
        ]
        for stage, model in models.items()
    }


def find_settings(key: str) -> list[Setting]:
    """Return a setting, or those of a stage.

    Raises
    ------
    UsageError
        If there is no such setting or stage; the message names those that are nearly called so.
    """
    stages = all_settings()
    found = stages.get(key) or [setting for settings in stages.values() for setting in settings if setting.key == key]
    if not found:
        raise UsageError(f"unknown setting {key}{suggest(key)}")
    return found


def suggest(key: str) -> str:
    """Return the end of an error message about an unknown key: keys that are similar, or where all are listed."""
    stages = all_settings()
    known = [*filter(None, stages), *(setting.key for settings in stages.values() for setting in settings)]
    similar = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    level = [name for name in known if name.count(".") == key.count(".") and name not in similar]
    similar += difflib.get_close_matches(key, level)
    return f"; did you mean {' or '.join(similar)}?" if similar else "; `datus2 settings` lists all"


def removed_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return a line for every setting or value that an earlier version had."""
    lines = []
    for old, advice in REMOVED.items():
        key, has_value, value = old.partition("=")
        stage, _, name = key.rpartition(".")
        values = settings.get(stage) if stage else settings
        if isinstance(values, Mapping) and name in values and (not has_value or str(values[name]) == value):
            lines.append(f"{old} was removed: {advice}")
    return lines


def _describe(model: type[StageConfig], name: str, stage: str, paper: Mapping[str, Any]) -> Setting:
    field = model.model_fields[name]
    default = None if field.is_required() else str(field.default)
    extra = extra_of(field)
    return Setting(
        f"{stage}.{name}" if stage else name,
        str(field.description),
        default,
        str(paper[name]) if name in paper else default,
        extra["decides"],
        extra["group"],
    )
