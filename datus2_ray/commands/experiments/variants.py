"""The variants that an experiment compares: each is a name and what it changes in the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.config.cluster import ClusterConfig
from datus2_ray.config.presets import preset_values
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, patch_side
from datus2_ray.errors import UsageError
from datus2_ray.sources.layouts import known
from datus2_ray.sources.listing import Listing
from datus2_ray.store.weights_cache import local_spec

#: Name of the variant with the paper's settings.
PAPERS = "the paper's"

#: Parts of the names of the variants of :func:`dedicated`.
PER_PATCH, OF_SEGMENTS, PUBLISHED = "per patch", "of segments", "codes per patch, published shifts"


@dataclass(frozen=True)
class Variant:
    """One row of an experiment: its name, the settings that differ from the base, and its place in a sweep."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    value: float | None = None

    def apply(self, base: RunConfig) -> RunConfig:
        """Return the settings of this variant; raise a ValidationError if they do not fit each other."""
        settings = base.model_dump()
        for name, change in self.changes.items():
            settings[name] = {**settings[name], **change} if isinstance(change, dict) else change
        return RunConfig.model_validate(settings)


@dataclass(frozen=True)
class Axis:
    """What an experiment without order, or a sweep, is told apart by: its label in the plot.

    Parameters
    ----------
    matching : {"one_to_one", "many_to_one"}
        The scores that the table and the plot show.
    probe : bool
        Whether a linear probe on the ground truth stands beside the variants.
    """

    label: str
    variants: Callable[[RunConfig, Sequence[float], Listing], list[Variant]]
    matching: str = "one_to_one"
    probe: bool = False


#: Settings of `cluster` under which k-means alone finds the clusters: of several starts, as in the paper.
UNMERGED = {"fine": None, "restarts": 10, "start_sample": 100_000}


def ablation(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Put the paper's choice in the place of each part in turn; then add each part that the base leaves out.

    Only what differs from the base is a variant: of the `paper` preset none but the additions are left.
    """
    _refuse_values("an ablation", values)
    refinement = [
        Variant("DeepLabV3 after EM", {"refine": {"network": "deeplabv3"}}),
        Variant("DeepLabV3, no EM", {"refine": {"network": "deeplabv3", "em": False}}),
    ]
    binary = {"graph": "binary", "resolution": 1.0, "threshold": 0.0, "place": 0.0, "colour": 0.0}
    candidates = [
        Variant("keys span the graph", {"discover": {"feature": "key"}}),
        Variant("binary graph", {"discover": binary}),
        Variant("places do not count", {"discover": {"place": 0.0}}),
        Variant("colours do not count", {"discover": {"colour": 0.0}}),
        Variant("resolution 1", {"discover": {"resolution": 1.0}}),
        Variant("noise kept", {"discover": {"noise": "kept"}}),
        Variant("CLS of crops, noise kept", {"discover": {"descriptor": "cls", "noise": "kept"}}),
        Variant("descriptors not centred", {"cluster": {"scaling": "none"}}),
        Variant("Euclidean k-means", {"cluster": {"metric": "euclidean"}}),
        Variant("one clustering, no vote", {"cluster": {"votes": 1}}),
        Variant("nothing merged", {"cluster": UNMERGED}),
        Variant("descriptors not whitened", {"cluster": {"whitening": 0.0}}),
        Variant("no PCA", {"cluster": {"pca": None, "whitening": 0.0}}),
        *(refinement if base.refine.enabled else []),
        _papers(),
        Variant("and patches as units, by their tokens", {"discover": {"unit": "patches", "descriptor": "tokens"}}),
        Variant("and mirror image", {"discover": {"mirror": True}}),
        Variant("and kept aspect", {"discover": {"keep_aspect": True}}),
        Variant("and mean of three blocks", {"discover": {"blocks": 3}}),
        Variant("and twice the size, in windows", {"discover": _twice_in_windows(base)}),
        Variant("and CLS of crops joined, noise kept", {"discover": {"descriptor": "tokens+cls", "noise": "kept"}}),
        Variant("and segments weighted by area", {"cluster": {"weights": "area"}}),
        Variant("and descriptors standardised", {"cluster": {"scaling": "standardised"}}),
        Variant("and edges of the image", {"label": {"edges": "image"}}),
    ]
    differing = [variant for variant in candidates if variant.apply(base).identity() != base.identity()]
    return [Variant(base.preset), *differing]


def _papers() -> Variant:
    paper = preset_values("paper")
    refine = {name: paper["refine"][name] for name in ("em", "network", "loss", "teacher", "mirror")}
    return Variant(PAPERS, {"discover": paper["discover"], "cluster": paper["cluster"], "refine": refine})


def _refuse_values(experiment: str, values: Sequence[float]) -> None:
    if values:
        raise UsageError(f"--values are those of a sweep; {experiment} has none")


def presets(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Put the paper's settings beside those of the base."""
    _refuse_values("a comparison of presets", values)
    return [_papers(), Variant(base.preset)]


def _twice_in_windows(base: RunConfig) -> dict[str, int | None]:
    # Windows are in pixels.
    side = base.discover.side(_patch(base.backbone))
    return {"grid": None, "input_size": 2 * side, "tile": base.discover.tile or side}


def clusters(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary K; by default from the base's, or the number of classes, to four times as many."""
    least = base.clusters or max(2, len(known.find(source.dataset).class_names or ()))
    chosen = values or [round(least * factor) for factor in (1, 1.5, 2, 3, 4)]
    return [Variant(f"K = {value:g}", {"clusters": int(value)}, value) for value in chosen]


def names(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary how many clusters a person names; by default as many as classes, then what an hour or more allows."""
    classes = max(2, len(known.find(source.dataset).class_names or ()))
    chosen = values or sorted({classes, *(count for count in (27, 60, 120, 240) if count > classes)})
    return [Variant(f"{value:g} names", {"clusters": int(value)}, value) for value in chosen]


def resolution(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary Louvain's resolution."""
    chosen = values or (0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
    return [Variant(f"resolution {value:g}", {"discover": {"resolution": value}}, value) for value in chosen]


def patch_size(
    base: RunConfig, values: Sequence[float], source: Listing, backbones: Sequence[str] = ()
) -> list[Variant]:
    """Vary how much of a picture of 224 pixels a patch covers, by the size at which the backbone sees it.

    One backbone has patches of one size; seen smaller, a picture has fewer of them and each shows more. Other backbones
    are compared at the base's grid, and at as many pixels as the base sees.
    """
    grids = {value: round(224 / value) for value in values or (8.0, 14.0, 16.0)}
    return [
        Variant(f"{value:g} of 224 pixels a patch", {"discover": {"grid": grid, "input_size": None}}, value)
        for value, grid in grids.items()
    ] + [variant for backbone in backbones for variant in _of_other_patches(base, backbone)]


def _of_other_patches(base: RunConfig, backbone: str) -> list[Variant]:
    patch, pixels = _patch(backbone), base.discover.side(_patch(base.backbone))
    name = f"{backbone.rpartition('/')[2]}, patches of {patch} pixels"
    grids = {"the same grid": pixels // _patch(base.backbone), "the same pixels": pixels // patch}
    return [
        Variant(f"{name}, {alike}", {"backbone": backbone, "discover": {"grid": grid, "input_size": None}})
        for alike, grid in grids.items()
    ]


def _patch(backbone: str | None) -> int:
    return patch_side(local_spec(backbone or DEFAULT_BACKBONE))


def data_size(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary the number of images; by default an eighth, a quarter, half and all of them."""
    chosen = sorted(values or {max(2, source.images // part) for part in (8, 4, 2, 1)})
    return [Variant(f"{int(value):,} images", {"limit": int(value)}, value) for value in chosen]


def dedicated(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Cluster patches and segments, by tokens and by the codes of a head, with and without merging; each with EM.

    The last of tokens is the base. The head alone with k-means per patch is STEGO's cluster probe, and stands there a
    second time with the shifts that were published. The others have the head of the base, or ours.
    """
    _refuse_values("a comparison with a dedicated method", values)
    ours = base.cluster.descriptors if base.cluster.uses_head else "head"
    units = {PER_PATCH: {"unit": "patches", "descriptor": "tokens"}, OF_SEGMENTS: {"unit": "segments"}}
    refine = {"enabled": True, "em": True, "network": "linear"}

    def variant(name: str, unit: str, descriptors: str, fine: int | None) -> Variant:
        cluster = {"descriptors": descriptors, **({"fine": fine} if fine else UNMERGED)}
        return Variant(name, {"discover": units[unit], "cluster": cluster, "refine": refine})

    merged = base.cluster.fine or ClusterConfig().fine
    ladder = [
        variant(describe(described, unit, merged=fine is not None), unit, descriptors, fine)
        for described, descriptors in (("tokens", "tokens"), ("codes", ours))
        for unit in units
        for fine in (None, merged)
    ]
    return [variant(PUBLISHED, PER_PATCH, published_head(source.dataset), None), *ladder]


def describe(described: str, unit: str, *, merged: bool) -> str:
    """Return the name of a variant of :func:`dedicated`; `described` is tokens or codes."""
    return f"{described} {unit}{', merged' if merged else ''}"


def published_head(dataset: str) -> str:
    """Return the value of ``cluster.descriptors`` whose shifts were published for a data set, or for one like it."""
    heads = {"cityscapes": "stego-cityscapes", "camvid": "stego-cityscapes", "potsdam": "stego-potsdam"}
    # A data set's name may end with its number of classes.
    return heads.get(dataset.rstrip("0123456789"), "stego-coco")


#: Every experiment by its name on the command line.
EXPERIMENTS = {
    "ablation": Axis("variant", ablation),
    "clusters": Axis("clusters K", clusters),
    "names": Axis("clusters that are named", names, matching="many_to_one", probe=True),
    "resolution": Axis("Louvain's resolution", resolution),
    "patch-size": Axis("pixels of 224 that a patch covers", patch_size),
    "data-size": Axis("images", data_size),
    "presets": Axis("preset", presets),
    "dedicated": Axis("variant", dedicated),
}
