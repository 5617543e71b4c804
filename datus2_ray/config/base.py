"""What the settings of all stages share, and how a setting is declared.

To add a setting, add a line to the model of its stage, with the default that ``datus2 run`` shall have::

    tau: int = setting(5, "A segment is valid if it has more patches than this.", ge=0)

If the published method has another value, it goes into ``presets/paper.yaml``. Fingerprints, ``--set``, files of
settings, ``datus2 settings`` and error messages follow. Then: ``datus2 settings > docs/settings.md``.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

#: What a setting decides: the result of its stage, which is computed again when it changes; how fast that is computed;
#: or the prediction from what its stage made.
Decides = Literal["result", "speed", "predict"]

#: Where help and docs list a setting. An experimental one brought no gain where it was measured (docs/quality.md).
Group = Literal["common", "expert", "experimental"]

#: Arithmetic of forward passes; ``auto`` is bfloat16 on a GPU and float32 on a CPU.
Dtype = Literal["auto", "float32", "bfloat16"]


def setting(
    default: Any, text: str, *, decides: Decides = "result", group: Group = "common", **constraints: Any
) -> Any:
    """Declare a setting: its default, its line of help, and pydantic's constraints such as ``ge=0``."""
    extra: dict[str, Any] = {"decides": decides, "group": group}
    return Field(default, description=text, json_schema_extra=extra, **constraints)


def expert(default: Any, text: str, **options: Any) -> Any:
    """Declare a setting that few users change; options as :func:`setting` takes them."""
    return setting(default, text, group="expert", **options)


def experimental(default: Any, text: str, **options: Any) -> Any:
    """Declare a setting that brought no gain where it was measured; options as :func:`setting` takes them."""
    return setting(default, text, group="experimental", **options)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Return what a setting decides and its group."""
    declared = field.json_schema_extra
    return {"decides": "result", "group": "common", **(declared if isinstance(declared, dict) else {})}


class StageConfig(BaseModel):
    """Settings of a stage: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self, decides: Decides = "result") -> dict[str, Any]:
        """Return the settings that decide the stage's result, or something else, for a fingerprint."""
        names = {name for name, field in type(self).model_fields.items() if extra_of(field)["decides"] == decides}
        return self.model_dump(mode="json", include=names)


def check_fit(*conflicts: tuple[bool, str, str]) -> None:
    """Raise a ValueError that names every conflict of settings.

    Parameters
    ----------
    *conflicts : tuple of (bool, str, str)
        Whether there is a conflict, its reason, and the settings that end it, as ``stage.key=value`` each.
    """
    found = [f"{reason}: set {remedy}" for exists, reason, remedy in conflicts if exists]
    if found:
        raise ValueError("; ".join(found))


def choose_arithmetic(dtype: Dtype, device: str) -> Literal["float32", "bfloat16"]:
    """Return the arithmetic of forward passes on ``cpu`` or ``cuda``."""
    if dtype == "auto":
        return "bfloat16" if device == "cuda" else "float32"
    return dtype
