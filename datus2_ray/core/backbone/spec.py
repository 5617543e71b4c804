"""What ``--backbone`` and ``--cnn`` may say: a timm name, a file, ``untrained:NAME``, or the packaged default."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from datus2_ray.core.backbone.published import WEIGHTS, Published, label_of, read_published, weights_in
from datus2_ray.core.backbone.split import INDEX, pieces_of, whole_of
from datus2_ray.errors import BackboneError

DEFAULT_BACKBONE = "datus2-vit-tiny-8"
PACKAGED_WEIGHTS = Path(__file__).parents[2] / "weights" / f"{DEFAULT_BACKBONE}.safetensors"

UNTRAINED = "untrained:"

FILE_SUFFIXES = (".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors", ".tar", INDEX)


@dataclass(frozen=True)
class Spec:
    """What a backbone's or CNN's name means.

    Parameters
    ----------
    label : str
        Its name in logs, reports and errors; that of a file is without its folders.
    architecture : str or None
        A timm name or :data:`DEFAULT_BACKBONE`; None if it is inferred from the file.
    file : pathlib.Path or None
        The local weights.
    untrained : bool
        Whether the weights are random. Neither a file nor untrained: the weights are on timm's hub.
    """

    label: str
    architecture: str | None = None
    file: Path | None = None
    untrained: bool = False


class FileConfig(BaseModel):
    """The JSON beside a weights file (same stem, ``.json``): what the tensors alone do not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str | dict[str, Any] | None = Field(
        None, description="A timm name, or timm's keyword arguments, with the timm name they vary under 'name'."
    )
    mean: tuple[float, float, float] | None = Field(None, description="RGB mean of the training images, in 0..1.")
    std: tuple[float, float, float] | None = Field(None, description="RGB deviation of the training images, in 0..1.")
    input_size: int | None = Field(None, description="Side of the square that the model sees by default, in pixels.")


def parse_spec(text: str) -> Spec:
    """Parse a backbone's or CNN's name, without loading anything.

    Parameters
    ----------
    text : str
        A timm name (with or without a tag), the path of a weights file or of a folder of transformers or timm with
        one, ``FILE::TIMM_NAME``, ``untrained:TIMM_NAME``, or :data:`DEFAULT_BACKBONE`, whose weights come with the
        package.

    Raises
    ------
    BackboneError
        If the name is neither known to timm nor a file.
    """
    if text == DEFAULT_BACKBONE:
        shipped = PACKAGED_WEIGHTS if PACKAGED_WEIGHTS.is_file() else None
        return Spec(text, architecture=None if shipped else text, file=shipped, untrained=shipped is None)
    if text.startswith(UNTRAINED):
        name = text.removeprefix(UNTRAINED)
        if name != DEFAULT_BACKBONE:
            _check_timm_name(name)
        return Spec(text, architecture=name, untrained=True)
    path, separator, name = text.partition("::")
    if separator:
        _check_timm_name(name)
        file = _existing(Path(path))
        return Spec(label_of(file), architecture=name, file=file)
    if len(Path(text).parts) > 1 or text.endswith(FILE_SUFFIXES):
        return _of_file(_existing(Path(text)))
    if _is_model(text):
        _check_timm_name(text)
        return Spec(text, architecture=text)
    if Path(text).exists():
        return _of_file(_existing(Path(text)))
    raise _unknown(text)


def _of_file(file: Path) -> Spec:
    return Spec(label_of(file), file=file)


def is_supervised(spec: Spec) -> bool:
    """Return whether weights were trained, or fine-tuned, with labels: those with a classifier were.

    Of a file without a ``config.json`` of its own that is not known: False.
    """
    if spec.file is not None:
        return read_published(spec.file).supervised
    if spec.untrained or spec.architecture is None:
        return False
    from datus2_ray.core.backbone.timm_models import timm  # takes seconds, with torch

    published = timm.get_pretrained_cfg(spec.architecture)
    return published is not None and bool(published.num_classes)


def describe_weights(spec: Spec) -> dict[str, Any]:
    """Return what a report says about weights: their name, whether they are trained, and with labels.

    ``assumed`` is whether the mean and deviation of their images are ImageNet's because nothing names them.
    """
    return {
        "name": spec.label,
        "trained": not spec.untrained,
        "supervised": is_supervised(spec),
        "assumed": is_assumed(spec),
    }


def is_assumed(spec: Spec) -> bool:
    """Return whether neither a timm name nor a JSON beside the file names the mean or deviation of the images."""
    if spec.file is None or "." in (spec.architecture or ""):
        return False
    config, published = read_file_config(spec.file), read_published(spec.file)
    return (config.mean or published.mean) is None or (config.std or published.std) is None


def read_file_config(file: Path) -> FileConfig:
    """Read the JSON beside a weights file; an empty configuration if there is none.

    Raises
    ------
    BackboneError
        If it is not the JSON that :class:`FileConfig` describes.
    """
    beside = _config_beside(file)
    if not beside.is_file():
        return FileConfig()
    try:
        return FileConfig.model_validate_json(beside.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BackboneError(
            f"{beside.name}, the configuration beside {file.name}, is not valid: {where} {first['msg']}; "
            f"it may have the keys {', '.join(FileConfig.model_fields)}"
        ) from error


def patch_side(spec: str) -> int:
    """Return the side of a backbone's patches in pixels, without fetching weights from a hub.

    Raises
    ------
    BackboneError
        If there is no such backbone, or its file holds none.
    """
    parsed = parse_spec(spec)
    stated = read_file_config(parsed.file).architecture if parsed.file else None
    if isinstance(stated, dict) and "patch_size" in stated:
        return int(stated["patch_size"])
    from datus2_ray.core.backbone.architecture import patch_size  # imports timm and torch, and reads the weights
    from datus2_ray.core.backbone.vit import VIT

    return patch_size(parsed, VIT)


def fingerprint(spec: str) -> str:
    """Return a name of a spec's weights by which a result is reused only while they stay the same.

    For a file it holds the SHA-256 of its content and of the JSON beside it, wherever they lie; for a timm name the
    name and timm's version.

    Raises
    ------
    BackboneError
        If the name is neither known to timm nor a file.
    """
    parsed = parse_spec(spec)
    if parsed.file is None:
        untrained = UNTRAINED if parsed.untrained and not parsed.label.startswith(UNTRAINED) else ""
        return f"{untrained}{parsed.label} timm={version('timm')}"
    parts = [parsed.architecture or "", *(f"sha256={_sha256(piece)}" for piece in pieces_of(parsed.file))]
    beside = _config_beside(parsed.file)
    if beside.is_file():
        parts.append(f"json={_sha256(beside)}")
    if (published := read_published(parsed.file)) != Published():
        parts.append(f"config={hashlib.sha256(repr(published).encode()).hexdigest()}")
    return " ".join(part for part in parts if part)


def _config_beside(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(INDEX)).with_suffix(".json")


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(f"the weights file {file} cannot be read: {error.strerror}") from error


def _existing(file: Path) -> Path:
    if file.is_dir():
        weights = weights_in(file)
        if weights is None:
            raise BackboneError(f"the folder {file} has no {' or '.join(WEIGHTS[:2])}; give the weights file itself")
        return weights
    if not file.is_file():
        raise BackboneError(f"there is no weights file {file}; give a file that exists, or the name of a timm model")
    return whole_of(file)


def _is_model(name: str) -> bool:
    from datus2_ray.core.backbone.timm_models import timm  # takes seconds, with torch

    return timm.is_model(name)


def _check_timm_name(name: str) -> None:
    from datus2_ray.core.backbone.timm_models import timm  # takes seconds, with torch

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise _unknown(name)
    tags = timm.list_pretrained(f"{base}.*")
    if tag and name not in tags:
        raise BackboneError(f"timm has no weights {name}; it has {', '.join(tags) or f'none for {base}'}")


def _unknown(name: str) -> BackboneError:
    from datus2_ray.core.backbone.timm_models import timm  # takes seconds, with torch

    known = [DEFAULT_BACKBONE, *timm.list_models(), *timm.list_pretrained()]
    close = difflib.get_close_matches(name, known, n=4)
    hint = f"did you mean {', '.join(close)}?" if close else "see timm.list_models() for the names"
    return BackboneError(f"unknown model {name!r}, which is not a file either; {hint}")
