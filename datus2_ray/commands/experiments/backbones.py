"""The paper's purpose: backbones compared by what DatUS² and k-means on tokens find in their features."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datus2_ray.commands.experiments.run import Result, run_variants
from datus2_ray.commands.experiments.variants import Variant
from datus2_ray.config import RunConfig
from datus2_ray.config.presets import preset_values
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.listing import Listing

#: Clusters per class where they are more than the classes: on SUIM, 18 for 6, as far as the paper goes there.
OVER = 3

#: A block after the name of a backbone, such as ``FILE@-3``; the revision of a repository is longer.
BLOCK = re.compile(r"(?P<backbone>.+)@(?P<block>-?\d{1,3})")

PAPER = "paper"


@dataclass(frozen=True)
class BackboneVariant(Variant):
    """A backbone with a preset and a number of clusters.

    Parameters
    ----------
    backbone : str
        Its name in the table.
    preset : str
        ``paper``, or the preset that stands beside it.
    over : bool
        Whether there are more clusters than classes.
    """

    backbone: str = ""
    preset: str = ""
    over: bool = False


def run_backbones(
    base: RunConfig, backbones: Sequence[str], seeds: int, refine: bool, note: Callable[[str], None]
) -> list[Result]:
    """Run every backbone with the preset `paper` and with the base's, at K = classes and at more, with every seed.

    Parameters
    ----------
    base : RunConfig
        Settings of the preset that stands beside `paper`; ``out`` is the experiment's folder, ``seed`` the first seed.
    backbones : sequence of str
        What ``--backbone`` takes, and ``@BLOCK`` after it for another block than the base's: ``FILE@-3``.
    refine : bool
        Whether the masks of `paper` are refined by DeepLabV3, which takes minutes.
    note : callable
        Called with a line that says which run comes next.

    Returns
    -------
    list of Result
        Of variants that are :class:`BackboneVariant`, by backbone, preset, K and seed.

    Raises
    ------
    UsageError
        If no backbone is named, one is named twice, or the source has no ground truth or no number of classes.
    """
    if not backbones:
        raise UsageError("name the backbones that are compared: --backbones A --backbones B@-3")
    if len(set(backbones)) < len(backbones):
        raise UsageError(f"--backbones: {', '.join(backbones)}: each is compared once")
    if base.backbone is not None:
        raise UsageError(f"--backbone {base.backbone}: name all that are compared by --backbones")
    make = partial(variants, base, backbones, refine)
    return run_variants("backbones", base, make, seeds, note, leave_out=True)


def variants(base: RunConfig, backbones: Sequence[str], refine: bool, source: Listing) -> list[BackboneVariant]:
    """Return the variants of a source in the order of their runs."""
    classes = base.clusters or len(known.find(source.dataset).class_names or ())
    if classes < 2:
        raise UsageError(f"{base.source} does not say how many classes it has before it is read; give --clusters")
    names = _names(backbones)
    return [
        BackboneVariant(
            f"{names[text]}, {preset}, K = {k}",
            _merged(_changes(base, preset, refine), _backbone(text), {"clusters": k}),
            backbone=names[text],
            preset=preset,
            over=k > classes,
        )
        for text in backbones
        for preset in dict.fromkeys((base.preset, PAPER))
        for k in (classes, OVER * classes)
    ]


def _changes(base: RunConfig, preset: str, refine: bool) -> dict[str, Any]:
    """Return what a preset changes in the base."""
    if preset == base.preset:
        return {"refine": {"enabled": refine}} if preset == PAPER else {}
    # The tokens that the baseline clusters are those of the other preset: as many patches, whatever their size.
    without = {"evaluate": {"token_kmeans": False}}
    return {"preset": preset, **_merged(preset_values(preset), {"refine": {"enabled": refine}}, without)}


def _backbone(text: str) -> dict[str, Any]:
    name, block = split_block(text)
    return {"backbone": name, **({} if block is None else {"discover": {"block": block}})}


def split_block(text: str) -> tuple[str, int | None]:
    """Return the backbone, and the block after it; None if there is none, or a file has the whole name."""
    found = BLOCK.fullmatch(text)
    if found is None or Path(text).exists():
        return text, None
    return found["backbone"], int(found["block"])


def _names(backbones: Sequence[str]) -> dict[str, str]:
    """Return the name of every backbone in the table: without its folders, where that tells it from the others."""
    short = {text: _short(text) for text in backbones}
    names = list(short.values())
    return {text: name if names.count(name) == 1 else text for text, name in short.items()}


def _short(text: str) -> str:
    name, block = split_block(text)
    plain = name.partition("::")[0].rstrip("/").rpartition("/")[2]
    return plain if block is None else f"{plain}, block {block}".replace("-", "−")


def _merged(*changes: dict[str, Any]) -> dict[str, Any]:
    """Return changes of settings, of which the later ones win."""
    merged: dict[str, Any] = {}
    for change in changes:
        for name, value in change.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return merged
