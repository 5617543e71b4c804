"""What transformers' or timm's own ``config.json`` says of the weights beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datus2_ray.core.backbone.split import INDEX

#: Names of the weights in a repository of the model hub, in the order in which they are looked for. Only beside these
#: is a ``config.json`` theirs: in a folder of downloads it may be of anything.
WEIGHTS = (
    "model.safetensors",
    "pytorch_model.bin",
    f"model.safetensors{INDEX}",
    f"pytorch_model.bin{INDEX}",
)
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"

#: Activations of transformers under timm's names, where they are not timm's default.
ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "quick_gelu": "quick_gelu"}


@dataclass(frozen=True)
class Published:
    """What is known of weights from their ``config.json``; nothing where there is none.

    Parameters
    ----------
    name : str or None
        timm's name of the architecture; None in repositories of transformers.
    arguments : mapping
        timm's keyword arguments that the tensors do not tell.
    mean, std : tuple of float or None
        RGB statistics of the training images, for pixels in 0..1.
    epsilon : float or None
        What the norms add to the variance.
    supervised : bool
        Whether they are those of a classifier.
    """

    name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    epsilon: float | None = None
    supervised: bool = False


def read_published(file: Path) -> Published:
    """Read ``config.json`` and ``preprocessor_config.json`` beside a weights file of a repository, where they are."""
    if file.name not in WEIGHTS:
        return Published()
    config, processor = _read(file.with_name(CONFIG)), _read(file.with_name(PREPROCESSOR))
    described, vision = _part(config, "pretrained_cfg"), _part(config, "vision_config")
    mean = _triple(processor.get("image_mean")) or _triple(described.get("mean"))
    std = _triple(processor.get("image_std")) or _triple(described.get("std"))
    if processor.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    name = config.get("architecture")
    if isinstance(name, str):
        arguments = config.get("model_args")
        arguments = arguments if isinstance(arguments, dict) else {}
        return Published(name, arguments, mean, std, supervised=bool(config.get("num_classes")))
    heads, epsilon = vision.get("num_attention_heads"), vision.get("layer_norm_eps")
    activation = ACTIVATIONS.get(str(vision.get("hidden_act")))
    if activation is None and "clip" in str(config.get("model_type")):
        activation = "gelu"  # CLIP's own default is another one
    known = {"num_heads": heads if isinstance(heads, int) else None, "act_layer": activation}
    return Published(
        arguments={key: value for key, value in known.items() if value is not None},
        mean=mean,
        std=std,
        epsilon=epsilon if isinstance(epsilon, float) else None,
        supervised="ForImageClassification" in str(config.get("architectures")),
    )


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else config


def label_of(file: Path) -> str:
    """Return the name of a weights file for reports: of a repository's file, that of the repository or its folder."""
    if file.name not in WEIGHTS:
        return file.name
    folders = file.absolute().parts[:-1]
    cached = next((part for part in reversed(folders) if part.startswith("models--")), None)  # in the hub's own cache
    return "/".join(cached.split("--")[1:]) if cached else f"{folders[-1]}/{file.name}"


def weights_in(folder: Path) -> Path | None:
    """Return the weights of a folder as transformers, timm or the model hub's client writes it."""
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _triple(values: Any) -> tuple[float, float, float] | None:
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
        return None
    return float(values[0]), float(values[1]), float(values[2])
