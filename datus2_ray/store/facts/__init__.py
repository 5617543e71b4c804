"""What each stage says of its result beside its tables: one frozen dataclass a stage, kept in the stage's commit.

A stage, the report and ``status`` read another stage's facts by their type: ``run.facts(Clustered).segments``.
"""

from datus2_ray.store.facts.base import Facts
from datus2_ray.store.facts.clusters import (
    Clustered,
    Discovered,
    Encoded,
    HeadLearned,
    Labelled,
    Sampled,
    TokensClustered,
    TokensMerged,
)
from datus2_ray.store.facts.images import Exported, Ingested, Sharded, Surveyed
from datus2_ray.store.facts.named import Named, Taught, TaughtMasks
from datus2_ray.store.facts.scores import Evaluated, NamesScored, Probed
from datus2_ray.store.facts.training import LayerFitted, Predicted, Pretrained, Refined

__all__ = [
    "Clustered",
    "Discovered",
    "Encoded",
    "Evaluated",
    "Exported",
    "Facts",
    "HeadLearned",
    "Ingested",
    "Labelled",
    "LayerFitted",
    "Named",
    "NamesScored",
    "Predicted",
    "Pretrained",
    "Probed",
    "Refined",
    "Sampled",
    "Sharded",
    "Surveyed",
    "Taught",
    "TaughtMasks",
    "TokensClustered",
    "TokensMerged",
]
