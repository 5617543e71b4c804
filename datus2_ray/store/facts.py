"""What each stage says of its result beside its tables: one frozen dataclass a stage, kept in the stage's commit.

A stage, the report and ``status`` read another stage's facts by their type: ``run.facts(Clustered).segments``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from datus2_ray.core.names.names import NamedClass


@dataclass(frozen=True)
class Facts:
    """Facts of a stage; ``stage`` is its name, and the name of its folder."""

    stage: ClassVar[str]


@dataclass(frozen=True)
class Ingested(Facts):
    """``dataset`` is the layout that was found; ``kept_in`` is the source if its shards hold the images, else None.

    ``longest`` is the longest side of all images in pixels. ``bands``, ``ranges``, ``max_megapixels`` and ``crop`` say
    how all images become 8-bit RGB, see :class:`~datus2_ray.core.images.rendering.Rendering`. ``notes`` count the
    images with which something was done that a user may want to know.
    """

    stage: ClassVar[str] = "ingest"
    dataset: str
    kept_in: str | None = None
    bands: tuple[int, ...] = ()
    ranges: tuple[tuple[str, float, float], ...] = ()
    max_megapixels: int = 110
    notes: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    crop: int | None = None


@dataclass(frozen=True)
class Surveyed(Facts):
    """Number of images with ground truth, and the names of its classes.

    ``codes`` are their ids in the ground truth, or their colours 0xRRGGBB if ``by_colour``. ``scored`` is False where
    fewer than two classes occur. ``found`` is a line on what occurs. ``unusable`` counts the masks that cannot be used
    by kind, and ``example`` is one of them.
    """

    stage: ClassVar[str] = "survey"
    labelled: int
    classes: tuple[str, ...]
    codes: tuple[int, ...] = ()
    by_colour: bool = False
    scored: bool = True
    found: str = ""
    unusable: dict[str, int] = field(default_factory=dict)
    example: str = ""

    def describe(self) -> list[str]:
        """Return a line on the classes, and one on the masks that cannot be used, if there are any."""
        lines = []
        if self.labelled:
            scores = "" if self.scored else "; fewer than two classes occur, so nothing is scored"
            lines.append(f"ground truth of {self.labelled:,} images: {self.found}{scores}")
        if self.unusable:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.unusable.items())
            total = sum(self.unusable.values())
            lines.append(
                f"masks that cannot be used: {total:,} ({kinds}), such as {self.example}; their images are used, but "
                "not scored"
            )
        return lines


@dataclass(frozen=True)
class Sampled(Facts):
    """The number of clusters that was chosen, and the scores of all that were compared."""

    stage: ClassVar[str] = "sample"
    k: int
    scores: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class Discovered(Facts):
    """``unstructured`` is the number of images whose patches are one community: no structure was found in them.

    Where patches are the units, none is sought and none is counted. ``found`` are the connected parts of communities,
    those that are too small to be valid segments included.
    """

    stage: ClassVar[str] = "discover"
    unstructured: int = 0
    found: int = 0


@dataclass(frozen=True)
class HeadLearned(Facts):
    """How a head was learned from ``tokens`` of ``images``, a ``share`` of all.

    ``backbone`` is the fingerprint of the weights whose tokens it reads, ``dim`` their length, ``codes`` that of a
    code; ``shifts`` are those of the losses of an image, one like it, and another.
    """

    stage: ClassVar[str] = "head"
    dim: int
    codes: int
    backbone: str
    images: int
    share: float
    tokens: int
    workers: int
    steps: int
    shifts: tuple[float, ...]
    model: str


@dataclass(frozen=True)
class Encoded(Facts):
    """Nothing beside the table."""

    stage: ClassVar[str] = "codes"


@dataclass(frozen=True)
class Clustered(Facts):
    """Outcome of k-means; ``centroids`` is the number of fine clusters."""

    stage: ClassVar[str] = "cluster"
    centroids: int
    segments: int
    inertia: float
    iterations: int
    converged: bool
    restart: int
    restart_inertias: tuple[float, ...]
    metric: str


@dataclass(frozen=True)
class TokensClustered(Facts):
    """Outcome of k-means on patch tokens; ``share`` of the tokens was used, ``fine`` is the number of fine clusters."""

    stage: ClassVar[str] = "baseline"
    share: float
    inertia: float
    iterations: int
    fine: int


@dataclass(frozen=True)
class Labelled(Facts):
    """``areas`` are the pixels of the segments of every fine cluster, about; ``pixels`` are those of all images."""

    stage: ClassVar[str] = "label"
    areas: tuple[int, ...] = ()
    pixels: int = 0


@dataclass(frozen=True)
class LayerFitted(Facts):
    """How a layer on tokens was fitted to the segments, round after round.

    ``backbone`` is the fingerprint of the weights whose tokens it reads. It was fitted to ``tokens`` of ``images``, a
    ``share`` of all. ``agreements`` are the shares of the tokens that kept their class in each round; ``loss`` is the
    mean over the steps of the last one.
    """

    stage: ClassVar[str] = "em"
    clusters: int
    dim: int
    backbone: str
    images: int
    share: float
    tokens: int
    workers: int
    steps: int
    agreements: tuple[float, ...]
    loss: float
    model: str


@dataclass(frozen=True)
class Refined(Facts):
    """What was trained, and which checkpoint is kept; ``best_loss`` is its held-out loss.

    ``targets`` is the stage whose masks were learned: ``label`` or ``em``.
    """

    stage: ClassVar[str] = "refine"
    loss: str
    size: int
    clusters: int
    workers: int
    batch_size: int
    steps: int
    epochs: int
    best_epoch: int
    best_step: int
    best_loss: float
    checkpoint: str
    targets: str
    encoder: str
    encoder_start: str
    supervised: bool
    output_stride: int


@dataclass(frozen=True)
class Predicted(Facts):
    """Nothing beside the table."""

    stage: ClassVar[str] = "predict"


@dataclass(frozen=True)
class Named(Facts):
    """The classes whose ids the masks hold."""

    stage: ClassVar[str] = "named"
    classes: tuple[NamedClass, ...]


@dataclass(frozen=True)
class Taught(Facts):
    """How a layer on tokens was fitted to the classes of named segments; see :class:`LayerFitted`.

    ``names`` is the hash of the names that it was fitted to. ``agreements`` has one share: of the tokens whose segment
    the layer gives the class that it was named.
    """

    stage: ClassVar[str] = "teach"
    classes: tuple[NamedClass, ...]
    names: str
    dim: int
    backbone: str
    images: int
    share: float
    tokens: int
    workers: int
    steps: int
    agreements: tuple[float, ...]
    loss: float
    model: str


@dataclass(frozen=True)
class TaughtMasks(Facts):
    """The classes whose ids the masks hold."""

    stage: ClassVar[str] = "taught"
    classes: tuple[NamedClass, ...]


@dataclass(frozen=True)
class NamesScored(Facts):
    """What ``names`` of ``metrics.json`` holds."""

    stage: ClassVar[str] = "score_names"
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated(Facts):
    """What ``metrics.json`` holds."""

    stage: ClassVar[str] = "evaluate"
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Probed(Facts):
    """mIoU and pixel accuracy, in [0, 1], of a linear probe over ``images``, each scored by the half it is not in."""

    stage: ClassVar[str] = "probe"
    images: int
    miou: float
    pixel_accuracy: float


@dataclass(frozen=True)
class Exported(Facts):
    """The format, the set of masks, and the files of the whole set; all files are in a folder of the format's name."""

    stage: ClassVar[str] = "export"
    format: str
    masks: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Sharded(Facts):
    """The layout whose classes the masks in the shards hold; ``unusable`` counts masks left out by kind."""

    stage: ClassVar[str] = "shards"
    dataset: str
    unusable: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pretrained(Facts):
    """What was trained, and how it scores without labels."""

    stage: ClassVar[str] = "pretrain"
    start: dict[str, Any] | None
    parameters: int
    images: int
    crops: int
    workers: int
    dtype: str
    loss: float
    effective_rank: float | None
