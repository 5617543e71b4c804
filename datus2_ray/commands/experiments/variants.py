"""The variants that an experiment compares: each is a name and what it changes in the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from datus2_ray.config import RunConfig
from datus2_ray.config.presets import preset_values
from datus2_ray.core.backbone.spec import DEFAULT_BACKBONE, patch_side
from datus2_ray.errors import UsageError
from datus2_ray.sources import layouts
from datus2_ray.sources.listing import Listing
from datus2_ray.store.weights_cache import local_spec


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


def ablation(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Put the paper's choice in the place of each part in turn; then add each part that the base leaves out.

    Only what differs from the base is a variant: of the `paper` preset none but the additions are left.
    """
    if values:
        raise UsageError("--values are those of a sweep; an ablation has none")
    paper = preset_values("paper")
    as_published = {
        "discover": paper["discover"],
        "cluster": paper["cluster"],
        "refine": {name: paper["refine"][name] for name in ("em", "network", "loss", "teacher", "mirror")},
    }
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
        Variant("nothing merged", {"cluster": {"fine": None}}),
        Variant("descriptors not whitened", {"cluster": {"whitening": 0.0}}),
        Variant("no PCA", {"cluster": {"pca": None, "whitening": 0.0}}),
        *(refinement if base.refine.enabled else []),
        Variant("the paper's", as_published),
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


def _twice_in_windows(base: RunConfig) -> dict[str, int | None]:
    # Windows are in pixels.
    side = base.discover.side(patch_side(local_spec(base.backbone or DEFAULT_BACKBONE)))
    return {"grid": None, "input_size": 2 * side, "tile": base.discover.tile or side}


def clusters(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary K; by default from the base's, or the number of classes, to four times as many."""
    least = base.clusters or max(2, len(layouts.find(source.dataset).class_names or ()))
    chosen = values or [round(least * factor) for factor in (1, 1.5, 2, 3, 4)]
    return [Variant(f"K = {value:g}", {"clusters": int(value)}, value) for value in chosen]


def names(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary how many clusters a person names; by default as many as classes, then what an hour or more allows."""
    classes = max(2, len(layouts.find(source.dataset).class_names or ()))
    chosen = values or sorted({classes, *(count for count in (27, 60, 120, 240) if count > classes)})
    return [Variant(f"{value:g} names", {"clusters": int(value)}, value) for value in chosen]


def resolution(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary Louvain's resolution."""
    chosen = values or (0.5, 1.0, 2.0, 3.0, 5.0, 8.0)
    return [Variant(f"resolution {value:g}", {"discover": {"resolution": value}}, value) for value in chosen]


def patch_size(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary how much of a picture of 224 pixels a patch covers, by the size at which the backbone sees it.

    One backbone has patches of one size; seen smaller, a picture has fewer of them and each shows more.
    """
    grids = {value: round(224 / value) for value in values or (8.0, 14.0, 16.0)}
    return [
        Variant(f"{value:g} of 224 pixels a patch", {"discover": {"grid": grid, "input_size": None}}, value)
        for value, grid in grids.items()
    ]


def data_size(base: RunConfig, values: Sequence[float], source: Listing) -> list[Variant]:
    """Vary the number of images; by default an eighth, a quarter, half and all of them."""
    chosen = sorted(values or {max(2, source.images // part) for part in (8, 4, 2, 1)})
    return [Variant(f"{int(value):,} images", {"limit": int(value)}, value) for value in chosen]


#: Every experiment by its name on the command line.
EXPERIMENTS = {
    "ablation": Axis("variant", ablation),
    "clusters": Axis("clusters K", clusters),
    "names": Axis("clusters that are named", names, matching="many_to_one", probe=True),
    "resolution": Axis("Louvain's resolution", resolution),
    "patch-size": Axis("pixels of 224 that a patch covers", patch_size),
    "data-size": Axis("images", data_size),
}
